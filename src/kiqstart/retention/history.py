"""What became of runs: those that go on, and those that have ended in the last thirty days."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.errors import UnreadableRunError
from kiqstart.retention.report import StopReason
from kiqstart.retention.shard import RUNS, Shard, shard_columns, shard_of


@dataclass(frozen=True, kw_only=True)
class PastRun:
    """A run of a policy, all of its shards together.

    Args:
        started_at: when it began; None where Python has no such time.
        seconds: from its beginning to its end, or to now.
        shards: how many.
        deleted: rows that it has deleted, archived or updated.
        batches: transactions that did so.
        longest_batch: seconds of the longest of them.
        failed: rows that could not be.
        is_running: whether a worker that lives has a part of it.
        is_superseded: whether a later run has gone on with what it left.
        stopped: why it ended; None while it goes on, or was interrupted. `StopReason.END` if all was gone through.
    """

    policy: str
    run_id: str
    started_at: datetime | None
    seconds: float
    shards: int
    deleted: int
    batches: int
    longest_batch: float
    failed: int
    is_running: bool
    is_superseded: bool
    stopped: StopReason | None


async def read_history(
    connection: AsyncConnection, takeover_after: float, *, policy: str | None, limit: int
) -> list[PastRun]:
    """The newest runs, newest first, of one policy or of all. What somebody else has written there is left out.

    A shard's owner counts as gone after `takeover_after` seconds of silence.
    """
    began: ColumnElement[datetime] = func.min(RUNS.c.started_at)
    newest = (
        select(RUNS.c.policy, RUNS.c.run_id, func.extract("epoch", began).label("began"))
        .group_by(RUNS.c.policy, RUNS.c.run_id)
        .order_by(began.desc())
        .limit(limit)
    )
    if policy is not None:
        newest = newest.where(RUNS.c.policy == policy)
    found = [(str(row.policy), str(row.run_id), row.began) for row in await connection.execute(newest)]
    runs = [(name, run_id) for name, run_id, _ in found]
    shards: defaultdict[tuple[str, str], list[Shard]] = defaultdict(list)
    rows = select(*shard_columns(takeover_after)).where(tuple_(RUNS.c.policy, RUNS.c.run_id).in_(runs))
    for row in await connection.execute(rows):
        with suppress(UnreadableRunError):
            shards[row.policy, row.run_id].append(shard_of(row))
    return [
        _past_run(name, run_id, _time(epoch), shards[name, run_id])
        for name, run_id, epoch in found
        if shards[name, run_id]
    ]


def _past_run(policy: str, run_id: str, started_at: datetime | None, shards: Sequence[Shard]) -> PastRun:
    reasons = {one.stopped for one in shards}
    # What has come to a limit in one shard has not gone through all.
    stopped = None if None in reasons else next((one for one in reasons if one is not StopReason.END), StopReason.END)
    return PastRun(
        policy=policy,
        run_id=run_id,
        started_at=started_at,
        seconds=max(one.age for one in shards),
        shards=len(shards),
        deleted=sum(one.state.deleted for one in shards),
        batches=sum(one.state.batches for one in shards),
        longest_batch=max(one.state.longest_batch for one in shards),
        failed=sum(one.state.failed for one in shards),
        is_running=any(one.is_alive for one in shards),
        is_superseded=any(one.taken_on for one in shards),
        stopped=stopped,
    )


def _time(epoch: Any) -> datetime | None:  # noqa: ANN401  # a number of PostgreSQL's
    try:
        return datetime.fromtimestamp(float(epoch), UTC)
    except (ValueError, OverflowError, OSError):
        return None
