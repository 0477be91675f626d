"""The task that deletes completed todos."""

from dataclasses import dataclass

from taskiq import AsyncBroker, Context, TaskiqDepends
from taskiq.depends.progress_tracker import ProgressTracker
from typing_extensions import TypedDict

from kiqstart import Controller, register_task
from todo_service.core.todo.service import TodoService
from todo_service.core.user.service import UserService
from todo_service.delivery.tasks.cleanups import (
    CleanupDelayedError,
    CleanupOptions,
    CleanupPreview,
    CleanupReport,
    CleanupRunner,
    RowLimit,
    Shards,
    TimeBudget,
    retrying_transient_errors,
)
from todo_service.delivery.tasks.names import TaskName
from todo_service.delivery.tasks.progress import CleanupProgress


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
    report: CleanupReport | None
    preview: CleanupPreview | None


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
        shards: Shards = 1,
        row_limit: RowLimit = None,
        time_budget: TimeBudget = None,
        dry_run: bool = False,
        context: Context = TaskiqDepends(),
        progress: ProgressTracker[CleanupProgress] = TaskiqDepends(),
    ) -> TodoCleanupResult:
        """Delete completed todos; one that cannot be deleted is reported and costs the others nothing."""
        policy = self._todos.completed_policy()
        report: CleanupReport | None = None
        preview: CleanupPreview | None = None
        with retrying_transient_errors():
            users_processed = await self._users.count_active()
            if dry_run:
                preview = await self._cleanups.preview(policy)
            else:
                options = CleanupOptions(shards=shards, row_limit=row_limit, time_budget=time_budget)
                report = await self._cleanups.run(policy, options, context, progress)
        return TodoCleanupResult(
            users_processed=users_processed,
            todos_deleted=report["deleted"] if report else 0,
            errors=_by_user(report) if report else [],
            report=report,
            preview=preview,
        )


def _by_user(report: CleanupReport) -> list[TodoCleanupError]:
    return [TodoCleanupError(user_id=int(one["key"]["user_id"]), error=one["error"]) for one in report["errors"]]
