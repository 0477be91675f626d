"""One user who uses the service as an application would: the rows that the tasks delete begin like this."""

from dataclasses import dataclass

from todo_service.core.session.service import RefreshSessionService
from todo_service.core.todo.service import TodoService
from todo_service.core.user.service import UserService


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """A user, by way of the services."""

    users: UserService
    sessions: RefreshSessionService
    todos: TodoService

    async def visit(self) -> None:
        """Sign up, log in, refresh the session, and complete a todo."""
        user = await self.users.create(username="ada", email="ada@example.com")
        login = await self.sessions.create(user_id=user.id, user_agent="kiqstart demo", ip_address="192.0.2.1")
        await self.sessions.rotate(login.refresh_token)
        todo = await self.todos.create(user_id=user.id, title="See the demo")
        await self.todos.complete(todo.id)
