"""Sessions in signed cookies: nothing of them is kept here."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self, cast

from kiqstart.dashboard.settings import DashboardSettings

_LONGEST: Final = 4096
LONGEST_NAME: Final = 100
"""Characters of the name of whoever logs in."""


class DashboardRole(StrEnum):
    """What a login may do."""

    VIEW = "view"
    ACT = "act"
    """View, pause, resume, run, retry and purge."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """Who a browser is.

    Args:
        id: of this login.
        user: the name; '' before a login.
        role: what it may do; None before a login.
        ends: seconds since the Unix epoch.
        said: what the next page says was done.
    """

    id: str
    user: str
    role: DashboardRole | None
    ends: float
    said: str = ""

    @property
    def may_act(self) -> bool:
        """Whether it may change something."""
        return self.role is DashboardRole.ACT

    @classmethod
    def new(cls, user: str, role: DashboardRole | None, *, ends: float) -> Self:
        """Begin one, with an id that nobody knows."""
        return cls(id=secrets.token_urlsafe(16), user=user[:LONGEST_NAME], role=role, ends=ends)


class Sessions:
    """Signs sessions and reads them.

    Args:
        settings: their secret; a changed password or secret ends all sessions.
        now: seconds since the Unix epoch.
    """

    def __init__(self, settings: DashboardSettings, *, now: Callable[[], float] = time.time) -> None:
        secret = settings.secret.get_secret_value().encode() if settings.secret is not None else secrets.token_bytes(32)
        hashes = [
            "" if one is None else one.get_secret_value()
            for one in (settings.password_hash, settings.viewer_password_hash)
        ]
        self._key = hmac.digest(secret, json.dumps(hashes).encode(), hashlib.sha256)
        self._seconds = settings.session_hours * 3600
        self._now = now

    def begin(self, user: str, role: DashboardRole | None) -> Session:
        """Begin a session."""
        return Session.new(user, role, ends=self._now() + self._seconds)

    def sign(self, session: Session) -> str:
        """The cookie's value."""
        content = [session.id, session.user, session.role, session.ends, session.said]
        payload = base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
        return f"{payload}.{self._digest('session', payload)}"

    def read(self, cookie: str) -> Session | None:
        """The session of a cookie; None where it was not signed here, or is over."""
        payload, _, digest = cookie.partition(".")
        # What is no ASCII cannot be compared.
        if len(cookie) > _LONGEST or not cookie.isascii():
            return None
        if not hmac.compare_digest(digest, self._digest("session", payload)):
            return None
        with suppress(ValueError, TypeError):
            found = cast("tuple[str, str, str | None, float, str]", json.loads(_decoded(payload)))
            name, user, role, ends, said = found
            session = Session(id=name, user=user, role=DashboardRole(role) if role else None, ends=ends, said=said)
            return session if session.ends > self._now() else None
        return None

    def token(self, session: Session) -> str:
        """What a form of this session sends along, and no other page knows."""
        return self._digest("form", f"{session.id}\n{session.user}")

    def has_token(self, session: Session, token: str) -> bool:
        """Whether a form is of this session."""
        return token.isascii() and hmac.compare_digest(token, self.token(session))

    def _digest(self, purpose: str, text: str) -> str:
        return hmac.digest(self._key, f"{purpose}\n{text}".encode(errors="surrogatepass"), hashlib.sha256).hex()


def _decoded(payload: str) -> bytes:
    return base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
