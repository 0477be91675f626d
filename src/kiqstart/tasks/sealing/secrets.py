"""What is encrypted of messages, results and errors' texts, and how it stands in Redis."""

import re
from typing import Final

from kiqstart.tasks.sealing.cipher import SECRET, Cipher
from kiqstart.tasks.sealing.errors import UnreadableSecretError
from kiqstart.tasks.sealing.seal import unsealed

ENCRYPTED: Final = "encrypted"
"""What is shown in place of what cannot be read."""
_FIELD: Final = b'"encrypted":"'
_ARGUMENTS: Final = re.compile(rb'"encrypted":"(%s)"\}\Z' % SECRET)
_NO_ARGUMENTS: Final = b'"args":[],"kwargs":{}}'
_RESULT: Final = re.compile(rb'\{"is_err":(?:true|false),"encrypted":"(%s)"\}' % SECRET)
_DETAIL: Final = re.compile(rb"encrypted:(%s)" % SECRET)
_FAILED: Final = b'{"is_err":true'
_NO_KEY: Final = "it is encrypted, and this process has no key for it (TASKS_ENCRYPTION_KEYS)"


class Secrets:
    """Encrypts where there is a key; passes on what is not encrypted.

    Args:
        cipher: None where there are no keys.
        encrypts: whether what is new is encrypted, and not only read.
    """

    def __init__(self, cipher: Cipher | None = None, *, encrypts: bool = True) -> None:
        self._cipher = cipher
        self._writing = cipher if encrypts else None

    @property
    def encrypts(self) -> bool:
        """Whether what is new is encrypted."""
        return self._writing is not None

    @property
    def can_decrypt(self) -> bool:
        """Whether there is a key."""
        return self._cipher is not None

    def hide_arguments(self, message: bytes, start: int) -> bytes:
        """A message whose fields from a place on, which are the arguments, are encrypted; the others are readable."""
        if self._writing is None:
            return message
        head = message[:start]
        return b'%s"encrypted":"%s"}' % (head, self._writing.encrypt(b"{" + message[start:], b"arguments\n" + head))

    def show_arguments(self, message: bytes) -> bytes:
        """The message as it was before.

        Raises:
            UnreadableSecretError: its arguments cannot be decrypted here.
        """
        start = message.rfind(_FIELD)
        found = None if start < 0 else _ARGUMENTS.match(message, start)
        if found is None:
            return message
        head = message[:start]
        return head + self._decrypt(found[1], b"arguments\n" + head)[1:]

    def shown_message(self, message: bytes) -> bytes:
        """A message to be looked at, unsigned; "encrypted" stands for arguments that cannot be decrypted here."""
        message = unsealed(message)
        try:
            return self.show_arguments(message)
        except UnreadableSecretError:
            return b'%s"arguments":"%s"}' % (message[: message.rfind(_FIELD)], ENCRYPTED.encode())

    def hide_result(self, task_id: str, data: bytes) -> bytes:
        """An encrypted result; whether it is an error stays readable."""
        if self._writing is None:
            return data
        kind = b"true" if data.startswith(_FAILED) else b"false"
        return b'{"is_err":%s,"encrypted":"%s"}' % (kind, self._writing.encrypt(data, _of_result(task_id)))

    def show_result(self, task_id: str, data: bytes) -> bytes:
        """The result.

        Raises:
            UnreadableSecretError: it cannot be decrypted here.
        """
        found = _RESULT.fullmatch(data)
        return data if found is None else self._decrypt(found[1], _of_result(task_id))

    def hide_detail(self, data: bytes) -> bytes:
        """An encrypted traceback, as dead letters and kept runs have it."""
        if self._writing is None or not data:
            return data
        return b"encrypted:" + self._writing.encrypt(data, b"detail")

    def show_detail(self, data: bytes) -> bytes:
        """The traceback; "encrypted" where it cannot be decrypted here."""
        found = _DETAIL.fullmatch(data)
        if found is None:
            return data
        try:
            return self._decrypt(found[1], b"detail")
        except UnreadableSecretError:
            return ENCRYPTED.encode()

    def _decrypt(self, secret: bytes, about: bytes) -> bytes:
        if self._cipher is None:
            raise UnreadableSecretError(_NO_KEY)
        return self._cipher.decrypt(secret, about)


NO_SECRETS: Final = Secrets()
"""Of a process without keys."""


def has_hidden_arguments(message: bytes) -> bool:
    """Whether a message's arguments are encrypted."""
    start = message.rfind(_FIELD)
    return start >= 0 and _ARGUMENTS.match(message, start) is not None


def without_arguments(message: bytes) -> bytes:
    """The message with none in the place of encrypted ones."""
    return message[: message.rfind(_FIELD)] + _NO_ARGUMENTS if has_hidden_arguments(message) else message


def _of_result(task_id: str) -> bytes:
    return b"result\n" + task_id.encode(errors="surrogatepass")
