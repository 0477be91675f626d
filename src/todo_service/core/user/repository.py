"""Reading and writing users."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from todo_service.core.user.models import User


@dataclass(frozen=True)
class UserRepository:
    """Statements about users, in the caller's transaction."""

    async def add(self, session: AsyncSession, *, username: str, email: str) -> User | None:
        """Insert a user; None if the name is taken."""
        statement = insert(User).values(username=username, email=email)
        # Waits for a concurrent insert of the same name instead of failing the transaction.
        return await session.scalar(statement.on_conflict_do_nothing(index_elements=[User.username]).returning(User))

    async def get(self, session: AsyncSession, user_id: int) -> User | None:
        """Return the user."""
        return await session.get(User, user_id)

    async def lock(self, session: AsyncSession, user_id: int) -> User | None:
        """Return the user, who can be neither changed nor deleted until the transaction ends."""
        return await session.get(User, user_id, with_for_update={"read": True})

    async def list_active(self, session: AsyncSession, *, after_id: int, limit: int) -> Sequence[User]:
        """Return the active users with the `limit` lowest ids above `after_id`, in their order."""
        statement = select(User).where(User.is_active, User.id > after_id).order_by(User.id).limit(limit)
        return (await session.scalars(statement)).all()

    async def count_active(self, session: AsyncSession) -> int:
        """Count the active users."""
        return await session.scalar(select(func.count()).select_from(User).where(User.is_active)) or 0

    async def deactivate(self, session: AsyncSession, user_id: int) -> User | None:
        """Mark the user inactive; None if there is no such user."""
        return await session.scalar(update(User).where(User.id == user_id).values(is_active=False).returning(User))
