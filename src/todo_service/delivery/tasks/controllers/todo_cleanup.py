"""The task that deletes completed todos."""

from dataclasses import dataclass
from typing import Unpack

from taskiq import AsyncBroker, Context, TaskiqDepends
from taskiq.depends.progress_tracker import ProgressTracker
from typing_extensions import TypedDict

from kiqstart import (
    CleanupDelayedError,
    CleanupOptions,
    CleanupProgress,
    CleanupRunner,
    Controller,
    register_task,
    retrying_transient_errors,
)
from kiqstart.retention import RetentionPreview, RetentionReport
from todo_service.core.todo.service import TodoService
from todo_service.core.user.service import UserService
from todo_service.delivery.tasks.names import TaskName


class TodoCleanupError(TypedDict):
    """A user whose todos could not all be deleted, and why."""

    user_id: int
    error: str


class TodoCleanupResult(TypedDict):
    """How many active users there were, how many of their todos were deleted, what could not be, and all about it.

    After a dry run, `preview` says what would be deleted.
    """

    users_processed: int
    todos_deleted: int
    errors: list[TodoCleanupError]
    report: RetentionReport | None
    preview: RetentionPreview | None


@dataclass(frozen=True, kw_only=True)
class TodoCleanupTaskController(Controller):
    """Deletes the completed todos of all active users. Running it twice deletes nothing more."""

    _todos: TodoService
    _users: UserService
    _cleanups: CleanupRunner

    def register(self, registry: AsyncBroker) -> None:
        """Register `todo.cleanup`; what passes, such as a server that is gone, is tried again three times."""
        register_task(
            registry,
            self.cleanup_completed_todos,
            name=TaskName.TODO_CLEANUP,
            max_retries=3,
            retry_delay=60,
            retry_on=(CleanupDelayedError,),
            acks_late=True,
            unique="todo.cleanup:{dry_run}",
        )

    async def cleanup_completed_todos(
        self,
        *,
        dry_run: bool = False,
        context: Context = TaskiqDepends(),
        progress: ProgressTracker[CleanupProgress] = TaskiqDepends(),
        **options: Unpack[CleanupOptions],
    ) -> TodoCleanupResult:
        """Delete completed todos; one that cannot be deleted is reported and costs the others nothing."""
        with retrying_transient_errors():
            users_processed = await self._users.count_active()
        policy = self._todos.completed_policy()
        done = await self._cleanups.run(policy, context, progress, dry_run=dry_run, **options)
        return TodoCleanupResult(
            users_processed=users_processed,
            todos_deleted=done.deleted,
            errors=_by_user(done.report) if done.report else [],
            report=done.report,
            preview=done.preview,
        )


def _by_user(report: RetentionReport) -> list[TodoCleanupError]:
    return [TodoCleanupError(user_id=int(one.key["user_id"]), error=one.error) for one in report.errors]
