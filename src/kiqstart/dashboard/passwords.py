"""Hashes of passwords: scrypt, with what is needed to try one against it."""

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Final, Self

# 16 MiB and about 50 ms for each try.
_COST, _BLOCK, _PARALLEL = 2**14, 8, 1
_BYTES: Final = 32
_MOST_MEMORY: Final = 128 * 1024 * 1024
LONGEST: Final = 1024
"""Bytes of a password."""
_FORM: Final = re.compile(r"scrypt:(\d{4,7}):(\d{1,2}):(\d{1,2}):([\w-]{16,88}):([\w-]{43})", re.ASCII)


class InvalidHashError(ValueError):
    """A text is no hash that `hash_password` has made."""


@dataclass(frozen=True, kw_only=True)
class PasswordHash:
    """A hash that is read.

    Its text has no `$`, which shells and compose files would replace.
    """

    cost: int
    block: int
    parallel: int
    salt: bytes
    digest: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a hash.

        Raises:
            InvalidHashError: it is none, or costs too much to be tried.
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise InvalidHashError("is no hash: make one with `kiqstart dashboard hash-password`")
        cost, block, parallel = int(found[1]), int(found[2]), int(found[3])
        is_power_of_two = cost & (cost - 1) == 0
        if not (is_power_of_two and block and parallel and 128 * cost * block * parallel <= _MOST_MEMORY // 2):
            raise InvalidHashError("costs too much, or is none: make one with `kiqstart dashboard hash-password`")
        return cls(cost=cost, block=block, parallel=parallel, salt=_decode(found[4]), digest=_decode(found[5]))

    def fits(self, password: str) -> bool:
        """Whether it is that of a password. It takes memory and time: not to be called in an event loop."""
        data = password.encode(errors="surrogatepass")
        return len(data) <= LONGEST and hmac.compare_digest(self._of(data), self.digest)

    def _of(self, data: bytes) -> bytes:
        return _scrypt(data, self.salt, self.cost, self.block, self.parallel)


def hash_password(password: str) -> str:
    """Make a hash, with a salt of its own."""
    salt = secrets.token_bytes(16)
    digest = _scrypt(password.encode(errors="surrogatepass"), salt, _COST, _BLOCK, _PARALLEL)
    return f"scrypt:{_COST}:{_BLOCK}:{_PARALLEL}:{_encode(salt)}:{_encode(digest)}"


def _scrypt(data: bytes, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    return hashlib.scrypt(data, salt=salt, n=cost, r=block, p=parallel, maxmem=_MOST_MEMORY, dklen=_BYTES)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
