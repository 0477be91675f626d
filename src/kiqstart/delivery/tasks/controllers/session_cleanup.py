"""The task that deletes refresh sessions which expired long enough ago."""

from dataclasses import dataclass
from logging import getLogger
from typing import Annotated

from pydantic import Field
from sqlalchemy.exc import InterfaceError, OperationalError
from taskiq import AsyncBroker, TaskiqDepends
from taskiq.depends.progress_tracker import ProgressTracker
from typing_extensions import TypedDict

from kiqstart.core.session.service import RefreshSessionService
from kiqstart.delivery.tasks.names import TaskName
from kiqstart.delivery.tasks.progress import CleanupProgress, report_progress
from kiqstart.infrastructure.controller import Controller
from kiqstart.infrastructure.taskiq.registration import register_task

logger = getLogger(__name__)


class SessionCleanupResult(TypedDict):
    """How many refresh sessions were deleted."""

    deleted_count: int


@dataclass(frozen=True, kw_only=True)
class SessionCleanupTaskController(Controller):
    """Deletes expired refresh sessions. Running it twice deletes nothing more."""

    _sessions: RefreshSessionService

    def register(self, registry: AsyncBroker) -> None:
        """Register `session.cleanup`; a lost database connection is tried again three times, a minute apart."""
        register_task(
            registry,
            self.cleanup_old_sessions,
            name=TaskName.SESSION_CLEANUP,
            max_retries=3,
            retry_delay=60,
            retry_on=(OperationalError, InterfaceError, OSError),
            acks_late=True,
        )

    async def cleanup_old_sessions(
        self,
        days_old: Annotated[int, Field(ge=0, le=36_525)] = 30,
        progress: ProgressTracker[CleanupProgress] = TaskiqDepends(),
    ) -> SessionCleanupResult:
        """Delete the sessions that expired more than `days_old` days ago; 0 takes all that have expired."""
        report = await self._sessions.delete_expired(days_old=days_old, progress=report_progress(progress))
        for failure in report.errors:
            logger.warning("A session could not be deleted: %s: %s", failure.key, failure.error)
        return SessionCleanupResult(deleted_count=report.deleted)
