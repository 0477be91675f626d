"""Reading and writing refresh sessions."""

from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from uuid import UUID

from sqlalchemy import exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from kiqstart.retention import RetentionPolicy
from todo_service.core.session.models import RefreshSession
from todo_service.core.user.models import User


@dataclass(frozen=True)
class RefreshSessionRepository:
    """Statements about refresh sessions, in the caller's transaction. `now` is the database's clock throughout."""

    async def now(self, session: AsyncSession) -> datetime:
        """Return the time at which the transaction began."""
        return (await session.execute(select(func.now()))).scalar_one()

    async def add(
        self,
        session: AsyncSession,
        *,
        session_id: UUID,
        user_id: int,
        token_hash: bytes,
        family_hash: bytes,
        user_agent: str | None,
        ip_address: IPv4Address | IPv6Address | None,
        expires_at: datetime,
    ) -> RefreshSession:
        """Insert a session."""
        statement = insert(RefreshSession).values(
            id=session_id,
            user_id=user_id,
            refresh_token_hash=token_hash,
            family_hash=family_hash,
            user_agent=user_agent,
            ip_address=ip_address,
            expires_at=expires_at,
        )
        return (await session.scalars(statement.returning(RefreshSession))).one()

    async def get(self, session: AsyncSession, session_id: UUID) -> RefreshSession | None:
        """Return the session."""
        return await session.get(RefreshSession, session_id)

    async def find(self, session: AsyncSession, token_hash: bytes) -> RefreshSession | None:
        """Return the session whose present token has this hash."""
        return await session.scalar(select(RefreshSession).where(RefreshSession.refresh_token_hash == token_hash))

    async def find_family(self, session: AsyncSession, session_id: UUID, family_hash: bytes) -> RefreshSession | None:
        """Return the session if its tokens share the part with this hash."""
        statement = select(RefreshSession).where(
            RefreshSession.id == session_id, RefreshSession.family_hash == family_hash
        )
        return await session.scalar(statement)

    async def rotate(
        self, session: AsyncSession, *, old_hash: bytes, new_hash: bytes, family_hash: bytes
    ) -> RefreshSession | None:
        """Replace the token of a live session of an active user; None if the token is of no such session.

        Of two at once the second waits for the first, and then finds no row with the old hash.
        """
        statement = (
            update(RefreshSession)
            .where(
                RefreshSession.refresh_token_hash == old_hash,
                RefreshSession.revoked_at.is_(None),
                RefreshSession.expires_at >= func.now(),
                exists().where(User.id == RefreshSession.user_id, User.is_active),
            )
            .values(
                refresh_token_hash=new_hash,
                family_hash=family_hash,
                last_used_at=func.now(),
                rotation_counter=RefreshSession.rotation_counter + 1,
            )
            .returning(RefreshSession)
        )
        return await session.scalar(statement)

    async def revoke(self, session: AsyncSession, session_id: UUID) -> RefreshSession | None:
        """Mark a session revoked, from the first time on; None if there is no such session."""
        statement = (
            update(RefreshSession)
            .where(RefreshSession.id == session_id)
            .values(revoked_at=func.coalesce(RefreshSession.revoked_at, func.now()))
        )
        return await session.scalar(statement.returning(RefreshSession))

    def expired_policy(self, cutoff: datetime) -> RetentionPolicy:
        """Delete the sessions that expired before `cutoff`; there is an index on `expires_at`."""
        return RetentionPolicy(
            name="expired_sessions",
            model=RefreshSession,
            predicate=RefreshSession.expires_at < cutoff,
            cursor=(RefreshSession.expires_at,),
        )
