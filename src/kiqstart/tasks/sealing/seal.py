"""Signatures at the end of JSON objects."""

import base64
import hmac
import re
from typing import Final

from kiqstart.tasks.sealing.errors import SealingError, UntrustedMessageError
from kiqstart.tasks.sealing.keyring import ID, Keyring

_SEAL: Final = re.compile(rb',"seal":"1:(%s):([A-Za-z0-9_-]{43})"\}\Z' % ID.encode())
_LONGEST: Final = 100
_PURPOSE: Final = b"kiqstart signs 1 "


class Seal:
    """Signs with the first key; accepts what any of them has signed.

    Args:
        keys: 32 bytes each.
        scope: whose texts they are, and of which kind; what was signed for another is not accepted.
        is_required: whether a text without a signature is refused.
    """

    def __init__(self, keys: Keyring, *, scope: str, is_required: bool) -> None:
        self._keys = keys
        self._scope = _PURPOSE + scope.encode() + b"\n"
        self._is_required = is_required

    def sign(self, data: bytes) -> bytes:
        """A JSON object with its signature as the last field.

        Raises:
            SealingError: it is no JSON object that has fields.
        """
        if data[:1] != b"{" or data[-1:] != b"}" or data == b"{}":
            raise SealingError("only JSON can be signed: leave the broker its JSON serializer")
        name, signed = self._keys.first, data[:-1]
        return b'%s,"seal":"1:%s:%s"}' % (signed, name.encode(), self._signature(name, signed))

    def verified(self, data: bytes) -> bytes:
        """What was signed.

        Raises:
            UntrustedMessageError: nobody has signed it who has one of the keys.
        """
        found = _SEAL.search(data, max(len(data) - _LONGEST, 0))
        if found is None:
            if self._is_required:
                raise UntrustedMessageError("it is not signed (TASKS_SIGNING_REQUIRED)")
            return data
        name, signed = found[1].decode(), data[: found.start()]
        if name not in self._keys:
            raise UntrustedMessageError(f"it is signed with the key {name!r}; this process has: {self._keys.names}")
        # The text, of which each character counts, and not the bytes that it stands for.
        if not hmac.compare_digest(self._signature(name, signed), found[2]):
            raise UntrustedMessageError(f"it is not what was signed with the key {name!r}")
        return signed + b"}"

    def _signature(self, name: str, signed: bytes) -> bytes:
        digest = hmac.digest(self._keys[name], self._scope + signed, "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=")


def unsealed(data: bytes) -> bytes:
    """The same without its signature, which nobody has looked at."""
    found = _SEAL.search(data, max(len(data) - _LONGEST, 0))
    return data if found is None else data[: found.start()] + b"}"
