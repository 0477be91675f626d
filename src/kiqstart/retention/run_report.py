"""What a run has done, put together of its shards."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.bloat import describe_bloat
from kiqstart.retention.cost import BatchCost
from kiqstart.retention.notes import describe_run
from kiqstart.retention.reconnect import transact
from kiqstart.retention.report import RetentionFailure, RetentionReport, StopReason, merge_failures
from kiqstart.retention.run import Run
from kiqstart.retention.shard import Shard


async def report_of(run: Run, shards: Sequence[Shard]) -> RetentionReport:
    """Put together what the shards of a run have done, and look at what they have left of the table.

    Raises:
        sqlalchemy.exc.DBAPIError: the database failed.
        OSError: the server did not come back in time.
    """
    states = [shard.state for shard in shards]
    deleted, seconds = sum(state.deleted for state in states), max(shard.age for shard in shards)

    async def look(connection: AsyncConnection) -> tuple[tuple[str, ...], int]:
        bloat = await describe_bloat(connection, run.policy.table, deleted, seconds)
        return bloat, await run.quarantine.count(connection)

    bloat, left_alone = await transact(run.transactions, look, wait=run.settings.reconnect_wait, stop=run.stop)
    failures = merge_failures(failure for state in states for failure in state.failures)
    return RetentionReport(
        policy=run.policy.name,
        run_id=run.run_store.run_id,
        scan=shards[0].scan,
        reason=shards[0].reason,
        deleted=deleted,
        batches=sum(state.batches for state in states),
        seconds=seconds,
        longest_batch=max(state.longest_batch for state in states),
        skipped=sum(state.skipped for state in states),
        failed=sum(state.failed for state in states),
        errors=tuple(RetentionFailure(key=one.key, error=one.error, rows=one.rows) for one in failures),
        left_alone=left_alone,
        waited=sum(state.waited for state in states),
        rested=sum(state.rested for state in states),
        stopped=_why(shards, left_alone),
        resumed=any(shard.resumed for shard in shards),
        notes=describe_run(states, left_alone),
        bloat=bloat,
        per_row=sum((state.cost for state in states), BatchCost()).per_row,
        partitions=tuple(one for state in states for one in state.partitions),
    )


def _why(shards: Sequence[Shard], left_alone: int) -> StopReason:
    reasons = {shard.stopped for shard in shards}
    if not all(shard.is_done for shard in shards):
        return StopReason.STOPPED
    early = (StopReason.UNDELETABLE, StopReason.LOAD, StopReason.WINDOW, StopReason.TIME_BUDGET, StopReason.ROW_LIMIT)
    deleted, failed = (
        sum(counts) for counts in zip(*((one.state.deleted, one.state.failed) for one in shards), strict=True)
    )
    if not deleted and (failed or left_alone):
        return StopReason.UNDELETABLE
    return next((one for one in early if one in reasons), StopReason.END)
