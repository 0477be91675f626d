"""What can be done with todos."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Unpack

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from kiqstart.retention import RetentionEngine, RetentionPolicy, RetentionReport, RunOptions
from todo_service.core.todo.errors import InvalidTitleError, TodoNotFoundError
from todo_service.core.todo.models import Todo
from todo_service.core.todo.repository import TodoRepository
from todo_service.core.user.errors import UserNotFoundError
from todo_service.core.user.repository import UserRepository


@dataclass(frozen=True, kw_only=True)
class TodoService:
    """Creates, completes, lists and deletes todos, each call in a transaction of its own."""

    _sessions: async_sessionmaker[AsyncSession]
    _todos: TodoRepository
    _users: UserRepository
    _retention: RetentionEngine

    async def create(self, *, user_id: int, title: str) -> Todo:
        """Create a todo for a user, active or not.

        Raises:
            InvalidTitleError: the title is blank.
            UserNotFoundError: there is no such user.
        """
        if not title.strip():
            raise InvalidTitleError(title)
        async with self._sessions.begin() as session:
            if await self._users.lock(session, user_id) is None:
                raise UserNotFoundError(user_id)
            return await self._todos.add(session, user_id=user_id, title=title)

    async def complete(self, todo_id: int) -> Todo:
        """Mark a todo completed; one that was completed before keeps its time.

        Raises:
            TodoNotFoundError: there is no such todo.
        """
        async with self._sessions.begin() as session:
            todo = await self._todos.complete(session, todo_id)
        if todo is None:
            raise TodoNotFoundError(todo_id)
        return todo

    async def list_for_user(self, user_id: int, *, limit: int = 100, before_id: int | None = None) -> Sequence[Todo]:
        """Return up to `limit` todos of a user, newest first; the next page begins before the last one's id."""
        async with self._sessions.begin() as session:
            return await self._todos.list_for_user(session, user_id, limit=limit, before_id=before_id)

    def completed_policy(self) -> RetentionPolicy:
        """Name the completed todos of all active users; failures are reported by `user_id`."""
        return self._todos.completed_policy()

    async def delete_completed(self, **options: Unpack[RunOptions]) -> RetentionReport:
        """Delete these todos; the options are those of `RetentionEngine.run`."""
        return await self._retention.run(self.completed_policy(), **options)
