"""Encryption of parts of messages and results."""

import base64
import binascii
import hmac
import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from kiqstart.tasks.sealing.errors import SealingError, UnreadableSecretError
from kiqstart.tasks.sealing.keyring import ID, Keyring

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SECRET: Final = rb"1:(%s):([A-Za-z0-9_-]+=*)" % ID.encode()
"""How an encrypted text is written."""
_WRITTEN: Final = re.compile(SECRET)
_RANDOM_BYTES: Final = 32
# Each text has a key of its own, so that each may have the same nonce.
_NONCE: Final = bytes(12)
_PURPOSE: Final = b"kiqstart encrypts 1 "


class Cipher:
    """Encrypts with the first key, decrypts with whichever was used.

    Args:
        keys: 32 bytes each.
        scope: whose texts they are; what another one has encrypted cannot be read.

    Raises:
        SealingError: `cryptography` is not installed.
    """

    def __init__(self, keys: Keyring, *, scope: str) -> None:
        self._keys = keys
        self._scope = scope.encode() + b"\n"
        self._aes = _aes()

    def encrypt(self, data: bytes, about: bytes) -> bytes:
        """A text that nobody reads without the key, in characters that JSON leaves as they are.

        Args:
            data: is encrypted.
            about: what it belongs to; it can be decrypted beside that only.
        """
        name = self._keys.first
        random = os.urandom(_RANDOM_BYTES)
        closed = self._aes_of(name, random).encrypt(_NONCE, data, self._scope + about)
        return b"1:%s:%s" % (name.encode(), base64.urlsafe_b64encode(random + closed))

    def decrypt(self, secret: bytes, about: bytes) -> bytes:
        """What was encrypted.

        Raises:
            UnreadableSecretError: with a key that is not here, or it was changed.
        """
        from cryptography.exceptions import InvalidTag

        found = _WRITTEN.fullmatch(secret)
        if found is None:
            raise UnreadableSecretError("what is encrypted is of a version that this one does not know")
        name = found[1].decode()
        if name not in self._keys:
            raise UnreadableSecretError(f"it is encrypted with the key {name!r}; this process has: {self._keys.names}")
        try:
            closed = base64.urlsafe_b64decode(found[2])
            random, rest = closed[:_RANDOM_BYTES], closed[_RANDOM_BYTES:]
            return self._aes_of(name, random).decrypt(_NONCE, rest, self._scope + about)
        except (InvalidTag, binascii.Error, ValueError):
            raise UnreadableSecretError(f"it was not encrypted so with the key {name!r}") from None

    def _aes_of(self, name: str, random: bytes) -> "AESGCM":
        return self._aes(hmac.digest(self._keys[name], _PURPOSE + random, "sha256"))


@lru_cache
def _aes() -> "Callable[[bytes], AESGCM]":
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise SealingError(
            "TASKS_ENCRYPTION_KEYS needs the package cryptography: install kiqstart[encryption]"
        ) from None
    return AESGCM
