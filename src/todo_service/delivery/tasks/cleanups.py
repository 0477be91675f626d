"""What all clean-up tasks have in common: their options, their report, and how the engine meets taskiq."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from logging import getLogger
from typing import Annotated, Final

from pydantic import Field
from sqlalchemy.exc import DBAPIError
from taskiq import Context
from taskiq.depends.progress_tracker import ProgressTracker
from typing_extensions import TypedDict

from kiqstart import ShutdownSignal, TaskInterruptedError
from kiqstart.retention import (
    MAX_SHARDS,
    RetentionEngine,
    RetentionPolicy,
    RetentionReport,
    RowCost,
    RunLimits,
    StopReason,
    is_transient,
)
from todo_service.delivery.tasks.progress import CleanupProgress, report_progress

logger = getLogger(__name__)

# What a `bigint` holds.
_MOST_ROWS: Final = 2**63 - 1

# In how many pieces workers may share a clean-up; one for no sharing.
Shards = Annotated[int, Field(ge=1, le=MAX_SHARDS)]
# After how many rows a clean-up stops, and after how many seconds; the next one goes on.
RowLimit = Annotated[int | None, Field(ge=1, le=_MOST_ROWS)]
TimeBudget = Annotated[float | None, Field(gt=0, allow_inf_nan=False)]

# On the messages that call other workers to a run: its id.
_RUN_LABEL: Final = "retention_run"


class CleanupDelayedError(Exception):
    """The database is gone, locked, slow or full: the clean-up is worth another try, which goes on where it was."""


class CleanupFailure(TypedDict):
    """Rows that could not be deleted: the key of the first, the database's one line, and how many."""

    key: dict[str, str | int]
    error: str
    rows: int


class CleanupRowCost(TypedDict):
    """What a row cost: blocks found in shared buffers, read from outside them, made dirty; bytes of WAL."""

    blocks_hit: float
    blocks_read: float
    blocks_dirtied: float
    wal_bytes: float


class CleanupReport(TypedDict):
    """What a clean-up did; see `RetentionReport` for each field."""

    policy: str
    run_id: str
    walk: str
    reason: str
    deleted: int
    batches: int
    seconds: float
    longest_batch: float
    skipped: int
    failed: int
    errors: list[CleanupFailure]
    waited: float
    stopped: str
    resumed: bool
    bloat: list[str]
    per_row: CleanupRowCost | None
    partitions: list[str]


class CleanupPreview(TypedDict):
    """What a clean-up would delete; see `RetentionPreview` for each field."""

    policy: str
    walk: str
    reason: str
    rows: int
    is_estimate: bool
    table_rows: int


@dataclass(frozen=True, kw_only=True)
class CleanupOptions:
    """What a caller of a clean-up may ask for."""

    shards: int = 1
    row_limit: int | None = None
    time_budget: float | None = None


@dataclass(frozen=True, kw_only=True)
class CleanupRunner:
    """Runs policies for tasks.

    The run has the task's id, so a retry or a redelivery goes on where the last try was. Other workers are called with
    messages of the same task. On SIGTERM the run stops after its batch, and the task is left to the next worker.
    """

    _retention: RetentionEngine
    _shutdown: ShutdownSignal

    async def run(
        self,
        policy: RetentionPolicy,
        options: CleanupOptions,
        context: Context,
        progress: ProgressTracker[CleanupProgress],
    ) -> CleanupReport | None:
        """Run a policy, or take part in a run that another worker began, which then reports (None).

        Raises:
            TaskInterruptedError: the worker ends; the task is sent again.
        """
        stop = self._shutdown.event
        if (run_id := context.message.labels.get(_RUN_LABEL)) is not None:
            await self._retention.join(policy, str(run_id), stop=stop)
            return None
        report = await self._retention.run(
            policy,
            run_id=context.message.task_id,
            limits=RunLimits(rows=options.row_limit, seconds=options.time_budget),
            shards=options.shards,
            invite=_Invitation(context),
            progress=report_progress(progress),
            stop=stop,
        )
        if report.stopped is StopReason.STOPPED:
            raise TaskInterruptedError(reason=f"stopped after {report.deleted} rows, since this worker ends")
        _log(report)
        return _as_json(report)

    async def preview(self, policy: RetentionPolicy) -> CleanupPreview:
        """Say what a run would delete."""
        found = await self._retention.preview(policy)
        return CleanupPreview(
            policy=found.policy,
            walk=found.walk,
            reason=found.reason,
            rows=found.rows,
            is_estimate=found.is_estimate,
            table_rows=found.table_rows,
        )


@contextmanager
def retrying_transient_errors() -> Generator[None]:
    """Tell errors that pass from those that stay, of which a clean-up's caller hears at once.

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


def _as_json(report: RetentionReport) -> CleanupReport:
    return CleanupReport(
        policy=report.policy,
        run_id=report.run_id,
        walk=report.walk,
        reason=report.reason,
        deleted=report.deleted,
        batches=report.batches,
        seconds=report.seconds,
        longest_batch=report.longest_batch,
        skipped=report.skipped,
        failed=report.failed,
        errors=[CleanupFailure(key=one.key, error=one.error, rows=one.rows) for one in report.errors],
        waited=report.waited,
        stopped=report.stopped,
        resumed=report.resumed,
        bloat=list(report.bloat),
        per_row=_row_cost(report.per_row),
        partitions=list(report.partitions),
    )


def _row_cost(cost: RowCost | None) -> CleanupRowCost | None:
    if cost is None:
        return None
    return CleanupRowCost(
        blocks_hit=cost.blocks_hit,
        blocks_read=cost.blocks_read,
        blocks_dirtied=cost.blocks_dirtied,
        wal_bytes=cost.wal_bytes,
    )
