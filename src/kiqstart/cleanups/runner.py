"""What all clean-up tasks have in common: their options, their result, and how the engine meets taskiq."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from logging import getLogger
from typing import Annotated, Final, Unpack, cast

from pydantic import Field
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError
from taskiq import Context
from taskiq.depends.progress_tracker import ProgressTracker, TaskState
from typing_extensions import TypedDict

from kiqstart.processes.shutdown import ShutdownSignal
from kiqstart.retention.engine import RetentionEngine
from kiqstart.retention.faults import is_transient
from kiqstart.retention.policy import RetentionPolicy
from kiqstart.retention.preview import RetentionPreview
from kiqstart.retention.progress import ProgressCallback, RetentionProgress
from kiqstart.retention.report import RetentionReport, StopReason
from kiqstart.retention.run_options import MAX_SHARDS, RunLimits
from kiqstart.tasks.errors import TaskInterruptedError
from kiqstart.tasks.progress import report_progress

logger = getLogger(__name__)

# What a `bigint` holds.
_MOST_ROWS: Final = 2**63 - 1
# On the messages that call other workers to a run: its id.
_RUN_LABEL: Final = "retention_run"


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


class CleanupDelayedError(Exception):
    """The database is gone, locked, slow or full: the clean-up is worth another try, which goes on where it was."""


class CleanupOptions(TypedDict, total=False):
    """What a caller of a clean-up may ask for, beside a dry run.

    `shards`: into how many (1, if it is left out, to 64) it is cut for several workers. `row_limit` and `time_budget`:
    after how many rows and how many seconds it stops; the next one goes on. None is no limit.
    """

    shards: Annotated[int, Field(ge=1, le=MAX_SHARDS)]
    row_limit: Annotated[int | None, Field(ge=1, le=_MOST_ROWS)]
    time_budget: Annotated[float | None, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class CleanupResult:
    """What a clean-up has done.

    Args:
        deleted: rows; 0 after a dry run.
        report: all about it; None after a dry run, and of a call that took part in another one's run.
        preview: after a dry run, what would be deleted.
    """

    deleted: int = 0
    report: RetentionReport | None = None
    preview: RetentionPreview | None = None


@dataclass(frozen=True, kw_only=True)
class CleanupRunner:
    """Runs policies for tasks.

    The run has the task's id, so a retry or a redelivery goes on where the last try was. Other workers are called with
    messages of the same task. On SIGTERM the run stops after its batch, and the task is left to the next worker.

    Args:
        engine: runs the policies.
        shutdown: tells that the worker is to end.
    """

    engine: RetentionEngine
    shutdown: ShutdownSignal

    async def run(
        self,
        policy: RetentionPolicy,
        context: Context,
        progress: ProgressTracker[CleanupProgress],
        *,
        dry_run: bool = False,
        **options: Unpack[CleanupOptions],
    ) -> CleanupResult:
        """Run a policy, or take part in a run that another worker began, which then reports.

        Args:
            policy: what to delete.
            context: the task's, as taskiq injects it.
            progress: is told how far it is.
            dry_run: whether to say only what would be deleted.
            options: see `CleanupOptions`.

        Raises:
            TaskInterruptedError: the worker ends; the task is sent again.
            CleanupDelayedError: what failed may go well a minute later; of other errors the caller hears at once.
        """
        with retrying_transient_errors():
            if dry_run:
                return CleanupResult(preview=await self.engine.preview(policy))
            return await self._run(policy, context, progress, options)

    async def _run(
        self,
        policy: RetentionPolicy,
        context: Context,
        progress: ProgressTracker[CleanupProgress],
        options: CleanupOptions,
    ) -> CleanupResult:
        stop = self.shutdown.event
        if (run_id := context.message.labels.get(_RUN_LABEL)) is not None:
            await self.engine.join(policy, str(run_id), stop=stop)
            return CleanupResult()
        report = await self.engine.run(
            policy,
            run_id=context.message.task_id,
            limits=RunLimits(rows=options.get("row_limit"), seconds=options.get("time_budget")),
            shards=options.get("shards", 1),
            invite=_Invitation(context),
            progress=progress_callback(progress),
            stop=stop,
        )
        if report.stopped is StopReason.STOPPED:
            raise TaskInterruptedError(reason=f"stopped after {report.deleted} rows, since this worker ends")
        _log(report)
        return CleanupResult(deleted=report.deleted, report=report)


@contextmanager
def retrying_transient_errors() -> Generator[None]:
    """Tell errors of the database that pass from those that stay, of which a clean-up's caller hears at once.

    For the `retry_on=(CleanupDelayedError,)` of a clean-up that asks the database for more than `CleanupRunner` does.

    Raises:
        CleanupDelayedError: another try may go well.
    """
    try:
        yield
    except (DBAPIError, OSError) as error:
        if not is_transient(error):
            raise
        raise CleanupDelayedError(str(error)) from error


@dataclass(frozen=True)
class _Invitation:
    """Sends messages of the running task with its arguments and labels, which call other workers to the run."""

    context: Context

    async def __call__(self, others: int) -> None:
        message = self.context.message
        task = self.context.broker.find_task(message.task_name)
        if task is None:
            return
        for _ in range(others):
            # Beside the run that has the task's unique key.
            labels = {**message.labels, _RUN_LABEL: message.task_id, "unique": ""}
            call = task.kicker().with_labels(**labels)
            await call.kiq(*message.args, **message.kwargs)


def _log(report: RetentionReport) -> None:
    for failure in report.errors:
        logger.warning("%s: cannot delete %s: %s", report.policy, failure.key, failure.error)
    if report.skipped:
        logger.warning("%s: %d rows were locked and wait for the next run", report.policy, report.skipped)
    for sentence in report.bloat:
        logger.info("%s", sentence)


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
