"""A broker on Redis Streams from which no accepted task is lost: the protocol.

Where to start reading: `broker.StreamBroker` is what a project uses; `lua/` holds every step that changes Redis; each
is atomic, and this page says why together they lose nothing.

States of a message, and who may move it
----------------------------------------

    waiting     an entry of a queue's stream: send.lua adds it, for whoever called `kiq()`
    delayed     in a sorted set, with its time: send.lua or settle.lua adds it, any worker's beat.lua
                moves it when due
    delivered   pending, with one worker's name: fetch.lua, or a read that waits
    settled     gone: settle.lua, for the worker that has it
    returned    waiting again, before others: give_back.lua for the worker that has it; reclaim.lua for
                any worker, once the one that has it is dead
    suspect     returned, with one delivery left: reclaim.lua; a worker takes one when it has nothing else,
                and nothing else while it has it, so that of several messages only those that kill workers
                are buried (within bounds, so that a long task does not stop its worker: see fetching.py)
    dead        in the stream of dead letters: settle.lua, or reclaim.lua after the last delivery;
                resend.lua makes it wait anew, for whoever asks

A returned message is a new entry, and the old one is deleted in the same step. So an entry's id stands for one delivery
to one worker: as long as `XACK` of that id answers 1, nobody else has ever had it, and once it answers 0 it is somebody
else's. That answer is the only proof of ownership there is, and settle.lua does nothing without it. Whatever an end of
a delivery brings (acknowledgement, deletion, result, next try, dead letter, release of a unique key) happens in that
one step or not at all. There is no `XCLAIM`.

The lease
---------
A worker is alive as long as it beats. It registers under a name that is new each time (register.lua), and a thread of
its own renews that once a second (beat.lua), whatever the event loop does: a task that blocks the loop for an hour is
safe. What the thread cannot outlast is a call in C that holds Python's interpreter lock for longer than the lease; such
a process counts as standing still.

Every worker looks at those whose beat is late. It takes one for dead only after having watched it stay late for most of
a lease, by its own clock, without a gap (`observation`). When Redis was frozen, away or slow, or the watcher itself
stood still, all that was seen before is forgotten, and live workers have the time to beat again. Then fence.lua removes
the name, unless it has beaten since, and reclaim.lua gives back what is pending under it.

A worker that stood still finds its name gone with its next beat. Until that beat is answered it starts nothing
(`lease.Lease.is_trusted`: it counts from when its last renewal began, by its own clock, and trusts that for less than
others would wait). After it, all that it had is another's: running tasks are cancelled, their results dropped; it goes
on under a new name. What it runs in the meantime can still end in settle.lua, which refuses it.

What each fault leaves
----------------------
- A worker is killed: its entries stay pending under its name, until they are reclaimed. Each has then gone down with a
  worker once more. An entry may also be pending under a name that no longer exists (a command of a fenced worker that
  arrived late): reclaim.lua is used for those as well, every few seconds, by the one worker that is the janitor.
- A connection is cut in the middle of a read: Redis has delivered what never arrived. Each worker compares what is
  pending under its name with what it has, and gives the difference back. Should the answer arrive after all, it is
  refused (`delivery.DeliveriesInHand`).
- A connection is cut in the middle of a send: the batch is sent again under its number, which send.lua remembers.
  Whichever copy comes first counts, even if the first one was stuck in a frozen server and comes last.
- A connection is cut while settling: the step is repeated. If the first one did arrive, the second finds nothing to do.
- Redis restarts with its data: nothing is missing, since each step is atomic there too. The scripts are sent anew.
- Redis comes back empty: what waited is gone; only its append-only file could have saved it. The epoch, a random value
  beside the queue, is gone too. By that workers know that their names were not taken from them; they register again, go
  on with what they run, and settle.lua stores results although there is nothing to acknowledge.
- A worker is asked to end: it gives back what it has not started, then waits, then gives back what still runs after
  having cancelled it and what a read that was broken off was handed, and leaves (leave.lua). None of that counts as
  going down with a worker.

When a task runs twice
----------------------
Only where its first run was cut off: by the death of its process, by standing still for longer than the lease, or at
the end of the grace period. A run that has ended, but whose settling was not answered before the process died, may have
been settled or not; if not, it runs again.
"""
