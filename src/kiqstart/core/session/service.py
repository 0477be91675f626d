"""What can be done with refresh sessions."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address
from ipaddress import ip_address as parse_ip_address
from secrets import token_urlsafe
from typing import NoReturn, Unpack
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from kiqstart.core.retention.engine import RetentionEngine
from kiqstart.core.retention.policy import RetentionPolicy
from kiqstart.core.retention.report import RetentionReport
from kiqstart.core.retention.run import RunOptions
from kiqstart.core.session.errors import (
    InvalidIpAddressError,
    InvalidLifetimeError,
    InvalidRetentionAgeError,
    SessionExpiredError,
    SessionNotFoundError,
    SessionRevokedError,
)
from kiqstart.core.session.models import RefreshSession
from kiqstart.core.session.repository import RefreshSessionRepository
from kiqstart.core.user.errors import UserInactiveError, UserNotFoundError
from kiqstart.core.user.repository import UserRepository

_TOKEN_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class IssuedSession:
    """A session and its refresh token, which is shown here once: the database has only its hash."""

    session: RefreshSession
    refresh_token: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class RefreshSessionService:
    """Creates, rotates, revokes and deletes refresh sessions, each call in a transaction of its own."""

    _sessions: async_sessionmaker[AsyncSession]
    _refresh_sessions: RefreshSessionRepository
    _users: UserRepository
    _retention: RetentionEngine

    async def create(
        self,
        *,
        user_id: int,
        user_agent: str | None = None,
        ip_address: str | None = None,
        lifetime: timedelta = timedelta(days=30),
    ) -> IssuedSession:
        """Log an active user in on a device.

        Raises:
            UserNotFoundError: there is no such user.
            UserInactiveError: the user is deactivated.
            InvalidIpAddressError: the text is no IPv4 or IPv6 address.
            InvalidLifetimeError: the lifetime is not above zero, or too long.
        """
        address = _address(ip_address)
        token = token_urlsafe(_TOKEN_BYTES)
        async with self._sessions.begin() as session:
            await self._require_active(session, user_id)
            issued = await self._refresh_sessions.add(
                session,
                user_id=user_id,
                token_hash=_hash(token),
                user_agent=user_agent,
                ip_address=address,
                expires_at=_end(await self._refresh_sessions.now(session), lifetime),
            )
        return IssuedSession(session=issued, refresh_token=token)

    async def rotate(self, refresh_token: str) -> IssuedSession:
        """Exchange a session's token for a new one; of two calls with the same token, one succeeds.

        Raises:
            SessionNotFoundError: no session has the token; it may have had it before a rotation.
            SessionRevokedError: the session was revoked.
            SessionExpiredError: the session's time is over.
            UserInactiveError: its user is deactivated.
        """
        token = token_urlsafe(_TOKEN_BYTES)
        async with self._sessions.begin() as session:
            rotated = await self._refresh_sessions.rotate(session, old_hash=_hash(refresh_token), new_hash=_hash(token))
            if rotated is None:
                await self._refuse(session, refresh_token)
        return IssuedSession(session=rotated, refresh_token=token)

    async def revoke(self, session_id: UUID) -> RefreshSession:
        """End a session; one that was revoked before keeps its time.

        Raises:
            SessionNotFoundError: there is no such session.
        """
        async with self._sessions.begin() as session:
            revoked = await self._refresh_sessions.revoke(session, session_id)
        if revoked is None:
            raise SessionNotFoundError(session_id)
        return revoked

    async def expired_policy(self, *, days_old: int) -> RetentionPolicy:
        """Name the sessions that expired more than `days_old` days before now, by the database's clock.

        Raises:
            InvalidRetentionAgeError: `days_old` is negative, or reaches back before the year 1.
        """
        async with self._sessions.begin() as session:
            cutoff = _cutoff(await self._refresh_sessions.now(session), days_old)
        return self._refresh_sessions.expired_policy(cutoff)

    async def delete_expired(self, *, days_old: int, **options: Unpack[RunOptions]) -> RetentionReport:
        """Delete these sessions; the options are those of `RetentionEngine.run`.

        Raises:
            InvalidRetentionAgeError: `days_old` is negative, or reaches back before the year 1.
        """
        return await self._retention.run(await self.expired_policy(days_old=days_old), **options)

    async def _require_active(self, session: AsyncSession, user_id: int) -> None:
        # Locked, so that a session is not created beside the user's deactivation.
        user = await self._users.lock(session, user_id)
        if user is None:
            raise UserNotFoundError(user_id)
        if not user.is_active:
            raise UserInactiveError(user_id)

    async def _refuse(self, session: AsyncSession, refresh_token: str) -> NoReturn:
        found = await self._refresh_sessions.find(session, _hash(refresh_token))
        if found is None:
            raise SessionNotFoundError
        if found.revoked_at is not None:
            raise SessionRevokedError(found.id)
        if found.expires_at < await self._refresh_sessions.now(session):
            raise SessionExpiredError(found.id)
        raise UserInactiveError(found.user_id)


def _hash(token: str) -> bytes:
    # 32 random bytes cannot be guessed, so a fast hash without salt is enough.
    return sha256(token.encode()).digest()


def _address(text: str | None) -> IPv4Address | IPv6Address | None:
    if text is None:
        return None
    try:
        return parse_ip_address(text)
    except ValueError:
        raise InvalidIpAddressError(text) from None


def _end(now: datetime, lifetime: timedelta) -> datetime:
    try:
        end = now + lifetime
    except OverflowError:
        raise InvalidLifetimeError(lifetime) from None
    if end <= now:
        raise InvalidLifetimeError(lifetime)
    return end


def _cutoff(now: datetime, days_old: int) -> datetime:
    if days_old < 0:
        raise InvalidRetentionAgeError(days_old)
    try:
        return now - timedelta(days=days_old)
    except OverflowError:
        raise InvalidRetentionAgeError(days_old) from None
