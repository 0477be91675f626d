"""What can go wrong with refresh sessions. No error carries a token."""

from datetime import timedelta
from uuid import UUID


class SessionError(Exception):
    """Base of the errors of refresh sessions."""


class SessionNotFoundError(SessionError):
    """There is no such session; `session_id` is None where a token was looked up."""

    def __init__(self, session_id: UUID | None = None) -> None:
        super().__init__(f"there is no session {session_id}" if session_id else "no session has this refresh token")
        self.session_id = session_id


class SessionExpiredError(SessionError):
    """The session's time is over."""

    def __init__(self, session_id: UUID) -> None:
        super().__init__(f"session {session_id} has expired")
        self.session_id = session_id


class SessionRevokedError(SessionError):
    """The session was revoked."""

    def __init__(self, session_id: UUID, why: str = "") -> None:
        super().__init__(f"session {session_id} is revoked{why}")
        self.session_id = session_id


class RefreshTokenReusedError(SessionRevokedError):
    """A token that was replaced came again, so somebody else may have the present one: the session is revoked now."""

    def __init__(self, session_id: UUID) -> None:
        super().__init__(session_id, ", since a refresh token that was replaced came again")


class InvalidIpAddressError(SessionError, ValueError):
    """The text is no IPv4 or IPv6 address."""

    def __init__(self, ip_address: str) -> None:
        super().__init__(f"{ip_address!r} is no IPv4 or IPv6 address")
        self.ip_address = ip_address


class InvalidLifetimeError(SessionError, ValueError):
    """A session must live for some time."""

    def __init__(self, lifetime: timedelta) -> None:
        super().__init__(f"a session's lifetime must be above zero and end before the year 10000, not {lifetime}")
        self.lifetime = lifetime


class InvalidRetentionAgeError(SessionError, ValueError):
    """The age is negative or reaches back before the calendar begins."""

    def __init__(self, days_old: int) -> None:
        super().__init__(f"days_old must be from 0 to the number of days since the year 1, not {days_old}")
        self.days_old = days_old
