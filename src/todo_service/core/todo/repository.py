"""Reading and writing todos."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import exists, func, insert, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession

from kiqstart.retention import RetentionPolicy
from todo_service.core.todo.models import Todo
from todo_service.core.user.models import User


@dataclass(frozen=True)
class TodoRepository:
    """Statements about todos, in the caller's transaction."""

    async def add(self, session: AsyncSession, *, user_id: int, title: str) -> Todo:
        """Insert a todo that is not completed."""
        return (await session.scalars(insert(Todo).values(user_id=user_id, title=title).returning(Todo))).one()

    async def complete(self, session: AsyncSession, todo_id: int) -> Todo | None:
        """Mark a todo completed, from the first time on; None if there is no such todo."""
        statement = (
            update(Todo)
            .where(Todo.id == todo_id)
            .values(is_completed=True, completed_at=func.coalesce(Todo.completed_at, func.now()))
        )
        return await session.scalar(statement.returning(Todo))

    async def list_for_user(
        self, session: AsyncSession, user_id: int, *, limit: int, before_id: int | None
    ) -> Sequence[Todo]:
        """Return a user's newest todos with an id below `before_id`, newest first."""
        older = true() if before_id is None else Todo.id < before_id
        statement = select(Todo).where(Todo.user_id == user_id, older).order_by(Todo.id.desc()).limit(limit)
        return (await session.scalars(statement)).all()

    def completed_policy(self) -> RetentionPolicy:
        """Delete the completed todos of active users, page by page: no index on them has to be kept for it.

        Active is said as "not of an inactive user", who are few: each batch looks them up anew.
        """
        return RetentionPolicy(
            name="completed_todos",
            model=Todo,
            predicate=Todo.is_completed & ~exists().where(User.id == Todo.user_id, ~User.is_active),
            error_key=(Todo.user_id,),
        )
