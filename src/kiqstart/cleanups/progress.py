"""Progress of a clean-up, as whoever waits for it sees it."""

from dataclasses import asdict
from logging import getLogger
from typing import cast

from redis.exceptions import RedisError
from taskiq.depends.progress_tracker import ProgressTracker, TaskState
from typing_extensions import TypedDict

from kiqstart.retention.progress import ProgressCallback, RetentionProgress
from kiqstart.tasks.progress import report_progress

logger = getLogger(__name__)


class CleanupProgress(TypedDict):
    """What `await task.get_progress()` has in its `meta` while a clean-up runs: the fields of `RetentionProgress`.

    `deleted` and `total` (an estimate until the end) count rows, `fraction` is the part that is done (0 to 1),
    `seconds` the time since a worker took up the task, `rate` rows per second, `eta` the seconds that are left,
    `waiting` what the clean-up waits for, if it does.
    """

    deleted: int
    total: int
    fraction: float
    seconds: float
    rate: float
    eta: float | None
    waiting: str | None


def progress_callback(tracker: ProgressTracker[CleanupProgress]) -> ProgressCallback:
    """A callback for the retention engine that hands its progress to taskiq's tracker, and to who looks at the run."""

    async def report(progress: RetentionProgress) -> None:
        words = f"rows; waits for {progress.waiting}" if progress.waiting else f"rows, {progress.rate:,.0f} a second"
        report_progress(progress.deleted, progress.total, words)
        try:
            await tracker.set_progress(TaskState.STARTED, cast("CleanupProgress", asdict(progress)))
        except (RedisError, OSError) as error:
            # Whoever watches sees it later; the clean-up does not depend on it.
            logger.warning("Progress cannot be stored: %s", error)

    return report
