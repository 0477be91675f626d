"""The end of a table whose rows refer to each other: what is to become of those that were held back to the last."""

from dataclasses import replace
from time import monotonic
from typing import Final

from sqlalchemy import or_
from sqlalchemy.exc import DBAPIError

from kiqstart.retention.batch import any_key
from kiqstart.retention.errors import TableChangedError
from kiqstart.retention.faults import Fault, fault_of
from kiqstart.retention.owned_shard import OwnedShard
from kiqstart.retention.report import FailureGroup
from kiqstart.retention.tree import prune

# Stretches that one statement can look at together.
_FEW_STRETCHES: Final = 50
_SECONDS_FOR_CIRCLES: Final = 10.0
_HELD: Final = (
    "rows of its own table refer to it that do not go, or it refers to itself by a circle larger than a batch"
)


async def finish_held(shard: OwnedShard, limit: int | None) -> None:
    """Delete held rows that hold each other, in a circle, and report the others, or leave them to the next run."""
    try:
        await _finish(shard, limit, deletes=sum(one.rows for one in shard.state.held) <= shard.settings.batch_rows)
    except TableChangedError:
        await shard.look_anew()
    except DBAPIError as error:
        if fault_of(error) not in {Fault.SLOW, Fault.LOCKED, Fault.OF_A_ROW}:
            raise
        await _finish(shard, limit, deletes=False)


async def _finish(shard: OwnedShard, limit: int | None, *, deletes: bool) -> None:
    started, held = monotonic(), shard.state.held
    deleted, left, state = 0, sum(one.rows for one in held), replace(shard.state, held=())
    most = None if limit is None or left <= limit else limit
    stretches = [one.interval for one in held] if len(held) <= _FEW_STRETCHES else shard.state.share
    async with shard.begin(None, _SECONDS_FOR_CIRCLES) as connection:
        where = or_(*(shard.where(one) for one in stretches))
        if deletes:
            references = shard.relation.own_references
            pruned = await prune(connection, shard.policy, references, where, limit=most, passes_over=True)
            deleted, left = pruned.deleted, pruned.held
        if shard.state.skipped:
            # What refers to them may have been locked.
            state = replace(state, given_up=state.given_up + left)
        elif left:
            key = await any_key(connection, shard.policy, where)
            state = state.with_failures((FailureGroup({}, key, _HELD, left),))
        state = state.with_batch(deleted, monotonic() - started)
        await shard.save(connection, state, max(stretches, key=lambda one: one.lines is not None))
    shard.state = state
