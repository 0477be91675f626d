"""Refresh tokens: `SESSION.FAMILY.SECRET`.

SESSION is the session's id. FAMILY is a secret that all tokens of a session share, so a token that was replaced can be
told from one that never was. SECRET is each token's own. The database has hashes of the whole token and of FAMILY only.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from secrets import token_urlsafe
from typing import Final, Self
from uuid import UUID, uuid4

_FAMILY_BYTES: Final = 16
_SECRET_BYTES: Final = 32
_FORM: Final = re.compile(r"([0-9a-f]{32})\.([A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, repr=False)
class RefreshToken:
    """A token taken apart; `str` is the token itself."""

    session_id: UUID
    family: str
    secret: str

    @classmethod
    def first(cls, session_id: UUID | None = None) -> Self:
        """A token of a new family: of the session, or of one that is yet to be made."""
        return cls(session_id or uuid4(), token_urlsafe(_FAMILY_BYTES), token_urlsafe(_SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Take a token apart; None if it is of another form."""
        found = _FORM.fullmatch(text)
        return None if found is None else cls(UUID(found[1]), found[2], found[3])

    def next(self) -> Self:
        """The one that takes its place."""
        return type(self)(self.session_id, self.family, token_urlsafe(_SECRET_BYTES))

    @property
    def hash(self) -> bytes:
        """What the database has of it."""
        return hash_of(str(self))

    @property
    def family_hash(self) -> bytes:
        """What the database has of its family."""
        return hash_of(self.family)

    def __str__(self) -> str:
        return f"{self.session_id.hex}.{self.family}.{self.secret}"


def hash_of(text: str) -> bytes:
    """The 32 bytes of SHA-256; random bytes cannot be guessed, so a fast hash without salt is enough."""
    return sha256(text.encode(errors="surrogatepass")).digest()
