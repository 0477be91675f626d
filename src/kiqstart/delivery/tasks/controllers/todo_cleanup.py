"""The task that deletes completed todos."""

from dataclasses import dataclass

from sqlalchemy.exc import InterfaceError, OperationalError
from taskiq import AsyncBroker, TaskiqDepends
from taskiq.depends.progress_tracker import ProgressTracker
from typing_extensions import TypedDict

from kiqstart.core.todo.service import TodoService
from kiqstart.core.user.service import UserService
from kiqstart.delivery.tasks.names import TaskName
from kiqstart.delivery.tasks.progress import CleanupProgress, report_progress
from kiqstart.infrastructure.controller import Controller
from kiqstart.infrastructure.taskiq.registration import register_task


class TodoCleanupError(TypedDict):
    """A user's todo that could not be deleted, and why."""

    user_id: int
    error: str


class TodoCleanupResult(TypedDict):
    """How many active users there were, how many of their todos were deleted, and what could not be."""

    users_processed: int
    todos_deleted: int
    errors: list[TodoCleanupError]


@dataclass(frozen=True, kw_only=True)
class TodoCleanupTaskController(Controller):
    """Deletes the completed todos of all active users. Running it twice deletes nothing more."""

    _todos: TodoService
    _users: UserService

    def register(self, registry: AsyncBroker) -> None:
        """Register `todo.cleanup`; a lost database connection is tried again three times, a minute apart."""
        register_task(
            registry,
            self.cleanup_completed_todos,
            name=TaskName.TODO_CLEANUP,
            max_retries=3,
            retry_delay=60,
            retry_on=(OperationalError, InterfaceError, OSError),
            acks_late=True,
        )

    async def cleanup_completed_todos(
        self, progress: ProgressTracker[CleanupProgress] = TaskiqDepends()
    ) -> TodoCleanupResult:
        """Delete completed todos; one that cannot be deleted is reported and costs the others nothing."""
        users_processed = await self._users.count_active()
        report = await self._todos.delete_completed(progress=report_progress(progress))
        return TodoCleanupResult(
            users_processed=users_processed,
            todos_deleted=report.deleted,
            errors=[
                TodoCleanupError(user_id=int(failure.key["user_id"]), error=failure.error) for failure in report.errors
            ],
        )
