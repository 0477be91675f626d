"""Progress of a clean-up, as whoever waits for it sees it."""

from logging import getLogger

from redis.exceptions import RedisError
from taskiq.depends.progress_tracker import ProgressTracker, TaskState
from typing_extensions import TypedDict

from kiqstart.core.retention.progress import ProgressCallback, RetentionProgress

logger = getLogger(__name__)


class CleanupProgress(TypedDict):
    """What `await task.get_progress()` has in its `meta` while a clean-up runs.

    `deleted` counts rows, `fraction` is the part of the table that has been gone through (0 to 1), `seconds` the time
    since the start.
    """

    deleted: int
    fraction: float
    seconds: float


def report_progress(tracker: ProgressTracker[CleanupProgress]) -> ProgressCallback:
    """A callback for the retention engine that hands its progress to taskiq's tracker."""

    async def report(progress: RetentionProgress) -> None:
        meta = CleanupProgress(deleted=progress.deleted, fraction=progress.fraction, seconds=progress.seconds)
        try:
            await tracker.set_progress(TaskState.STARTED, meta)
        except (RedisError, OSError) as error:
            # Whoever watches sees it later; the clean-up does not depend on it.
            logger.warning("Progress cannot be stored: %s", error)

    return report
