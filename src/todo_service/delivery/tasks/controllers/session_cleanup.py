"""The task that deletes refresh sessions which expired long enough ago."""

from dataclasses import dataclass
from typing import Annotated, Unpack

from pydantic import Field
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
from todo_service.core.session.service import RefreshSessionService
from todo_service.delivery.tasks.names import TaskName


class SessionCleanupResult(TypedDict):
    """How many refresh sessions were deleted, and all about it; or, after a dry run, what would be deleted."""

    deleted_count: int
    report: RetentionReport | None
    preview: RetentionPreview | None


@dataclass(frozen=True, kw_only=True)
class SessionCleanupTaskController(Controller):
    """Deletes expired refresh sessions. Running it twice deletes nothing more."""

    _sessions: RefreshSessionService
    _cleanups: CleanupRunner

    def register(self, registry: AsyncBroker) -> None:
        """Register `session.cleanup`; what passes, such as a server that is gone, is tried again three times."""
        register_task(
            registry,
            self.cleanup_old_sessions,
            name=TaskName.SESSION_CLEANUP,
            max_retries=3,
            retry_delay=60,
            retry_on=(CleanupDelayedError,),
            acks_late=True,
            unique="session.cleanup:{days_old}:{dry_run}",
        )

    async def cleanup_old_sessions(
        self,
        days_old: Annotated[int, Field(ge=0, le=36_525)] = 30,
        *,
        dry_run: bool = False,
        context: Context = TaskiqDepends(),
        progress: ProgressTracker[CleanupProgress] = TaskiqDepends(),
        **options: Unpack[CleanupOptions],
    ) -> SessionCleanupResult:
        """Delete the sessions that expired more than `days_old` days ago; 0 takes all that have expired."""
        with retrying_transient_errors():
            policy = await self._sessions.expired_policy(days_old=days_old)
        done = await self._cleanups.run(policy, context, progress, dry_run=dry_run, **options)
        return SessionCleanupResult(deleted_count=done.deleted, report=done.report, preview=done.preview)
