"""What can be done with users."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from todo_service.core.user.errors import InvalidUsernameError, UsernameTakenError, UserNotFoundError
from todo_service.core.user.models import User
from todo_service.core.user.repository import UserRepository


@dataclass(frozen=True, kw_only=True)
class UserService:
    """Creates, finds and deactivates users, each call in a transaction of its own."""

    _sessions: async_sessionmaker[AsyncSession]
    _users: UserRepository

    async def create(self, *, username: str, email: str) -> User:
        """Create an active user.

        Raises:
            InvalidUsernameError: the name is blank.
            UsernameTakenError: another user has the name.
        """
        if not username.strip():
            raise InvalidUsernameError(username)
        async with self._sessions.begin() as session:
            user = await self._users.add(session, username=username, email=email)
        if user is None:
            raise UsernameTakenError(username)
        return user

    async def get(self, user_id: int) -> User:
        """Return a user, active or not.

        Raises:
            UserNotFoundError: there is no such user.
        """
        async with self._sessions.begin() as session:
            user = await self._users.get(session, user_id)
        if user is None:
            raise UserNotFoundError(user_id)
        return user

    async def list_active(self, *, after_id: int = 0, limit: int = 1000) -> Sequence[User]:
        """Return up to `limit` active users by ascending id; the next page begins after the last one's id."""
        async with self._sessions.begin() as session:
            return await self._users.list_active(session, after_id=after_id, limit=limit)

    async def count_active(self) -> int:
        """Count the active users."""
        async with self._sessions.begin() as session:
            return await self._users.count_active(session)

    async def deactivate(self, user_id: int) -> User:
        """Make a user inactive, for whom no session is created or rotated any more. Doing it again changes nothing.

        Raises:
            UserNotFoundError: there is no such user.
        """
        async with self._sessions.begin() as session:
            user = await self._users.deactivate(session, user_id)
        if user is None:
            raise UserNotFoundError(user_id)
        return user
