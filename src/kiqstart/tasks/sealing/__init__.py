"""Messages that are signed, and whose arguments, results and errors' texts are encrypted.

Off without keys. With signing keys, a message ends with a field that signs every byte before it:

    {"task_id":…,"task_name":…,"labels":…,"labels_types":…,"args":[…],"kwargs":{…},"seal":"1:<key id>:<HMAC-SHA256>"}

Id, name, labels and arguments are one text, so no part of it fits another message; the queue's key prefix is signed
with it, so none fits another application. What is read is the text that was signed, byte by byte, and nothing that
follows it. A version that knows no seals passes over the field. Nobody who cannot sign can make a message that runs;
who can write to Redis can still drop, delay and move one, and send a copy again.

With encryption keys as well, what stood in place of the arguments is, before it is signed,

    …,"encrypted":"1:<key id>:<32 random bytes and the AES-256-GCM of {"args":[…],"kwargs":{…}}>","seal":…}

and the fields before it are authenticated with it. Id, task's name and labels stay readable: what routes, cancels,
counts and shows tasks needs no key. Each text has an AES key of its own, made of the random bytes with HMAC, so that no
number of messages wears a key out. A result is `{"is_err":false,"encrypted":…}`, bound to its task's id.

Of several keys the first one signs and encrypts; all verify and decrypt.
"""
