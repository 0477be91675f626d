"""What can be done with refresh sessions."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from ipaddress import ip_address as parse_ip_address
from typing import Unpack
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from kiqstart.retention import RetentionEngine, RetentionPolicy, RetentionReport, RunOptions
from todo_service.core.session.errors import (
    InvalidIpAddressError,
    InvalidLifetimeError,
    InvalidRetentionAgeError,
    RefreshTokenReusedError,
    SessionExpiredError,
    SessionNotFoundError,
    SessionRevokedError,
)
from todo_service.core.session.models import RefreshSession
from todo_service.core.session.repository import RefreshSessionRepository
from todo_service.core.session.token import RefreshToken, hash_of
from todo_service.core.user.errors import UserInactiveError, UserNotFoundError
from todo_service.core.user.repository import UserRepository


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
        token = RefreshToken.first()
        async with self._sessions.begin() as session:
            await self._require_active(session, user_id)
            issued = await self._refresh_sessions.add(
                session,
                session_id=token.session_id,
                user_id=user_id,
                token_hash=token.hash,
                family_hash=token.family_hash,
                user_agent=user_agent,
                ip_address=address,
                expires_at=_end(await self._refresh_sessions.now(session), lifetime),
            )
        return IssuedSession(session=issued, refresh_token=str(token))

    async def rotate(self, refresh_token: str) -> IssuedSession:
        """Exchange a session's token for a new one.

        A token works once. If it comes again, its thief or its owner has been here before; nobody knows which, so the
        session is revoked for both (RFC 9700, section 4.14.2). A client sends one call at a time therefore.

        Raises:
            SessionNotFoundError: no session has or had the token.
            RefreshTokenReusedError: the session had it before; it is revoked.
            SessionRevokedError: the session was revoked.
            SessionExpiredError: the session's time is over.
            UserInactiveError: its user is deactivated.
        """
        async with self._sessions.begin() as session:
            rotated = await self._rotate(session, refresh_token)
        # Behind the transaction, which may have revoked the session.
        if isinstance(rotated, Exception):
            raise rotated
        return rotated

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

    async def _rotate(self, session: AsyncSession, refresh_token: str) -> IssuedSession | Exception:
        old_hash = hash_of(refresh_token)
        new = await self._next(session, refresh_token, old_hash)
        if new is not None:
            rotated = await self._refresh_sessions.rotate(
                session, old_hash=old_hash, new_hash=new.hash, family_hash=new.family_hash
            )
            if rotated is not None:
                return IssuedSession(session=rotated, refresh_token=str(new))
        return await self._refusal(session, refresh_token, old_hash)

    async def _next(self, session: AsyncSession, refresh_token: str, old_hash: bytes) -> RefreshToken | None:
        if (parsed := RefreshToken.parse(refresh_token)) is not None:
            return parsed.next()
        # It was issued before tokens named their sessions.
        found = await self._refresh_sessions.find(session, old_hash)
        return None if found is None else RefreshToken.first(found.id)

    async def _refusal(self, session: AsyncSession, refresh_token: str, old_hash: bytes) -> Exception:
        found = await self._refresh_sessions.find(session, old_hash)
        if found is None:
            return await self._reuse(session, refresh_token)
        if found.revoked_at is not None:
            return SessionRevokedError(found.id)
        if found.expires_at < await self._refresh_sessions.now(session):
            return SessionExpiredError(found.id)
        return UserInactiveError(found.user_id)

    async def _reuse(self, session: AsyncSession, refresh_token: str) -> Exception:
        token = RefreshToken.parse(refresh_token)
        if token is None:
            return SessionNotFoundError()
        # Whoever knows the part that all of a session's tokens share has had one of them.
        found = await self._refresh_sessions.find_family(session, token.session_id, token.family_hash)
        if found is None:
            return SessionNotFoundError()
        if found.revoked_at is not None:
            return SessionRevokedError(found.id)
        await self._refresh_sessions.revoke(session, found.id)
        return RefreshTokenReusedError(found.id)


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
