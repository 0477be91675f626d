"""Goes on from rows that went to those that they referred to, wherever these lie.

The stretches of a table whose rows refer to each other in no order have few rows each that nothing refers to. What
such a row referred to is the next one that can go, so a run that follows it needs no round through all stretches for
each row of a chain. This only spares time: what it leaves out is met by the stretches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from logging import getLogger
from time import monotonic
from typing import Any

from sqlalchemy import CTE, ColumnElement, Label, and_, column, exists, or_, select, true, tuple_
from sqlalchemy.exc import DBAPIError

from kiqstart.retention.errors import TableChangedError
from kiqstart.retention.faults import Fault, fault_of
from kiqstart.retention.heap import Place, ctid, is_at, tableoid
from kiqstart.retention.owned_shard import OwnedShard
from kiqstart.retention.pace import FIRST_ROWS
from kiqstart.retention.policy import RetentionPolicy
from kiqstart.retention.tree import SelfReference, prune, rows_above, rows_with_ends, same_row

logger = getLogger(__name__)


@dataclass(kw_only=True)
class Climber:
    """Deletes batches of rows on the ways up from rows that went."""

    shard: OwnedShard
    # Rows that nothing may refer to any more.
    above: tuple[Place, ...] = ()
    _rows: int = FIRST_ROWS

    async def step(self, limit: int | None) -> float:
        """Delete a batch, at most so many rows, and return the seconds that its work took."""
        shard, started, above = self.shard, monotonic(), self.above
        rows = min(self._rows, shard.pace.most, *(() if limit is None else (limit,)))
        self.above = ()
        try:
            async with shard.begin(None) as connection:
                references = shard.relation.own_references
                where = and_(ways_up(shard.policy, references, above, rows), ~shard.left_alone)
                began = monotonic()
                pruned = await prune(
                    connection, shard.policy, references, where, passes_over=True, climbs=True, is_stretch=False
                )
                work = monotonic() - began
                state = shard.state.with_batch(pruned.deleted, monotonic() - started)
                if pruned.deleted:
                    await shard.save(connection, state)
        except TableChangedError:
            # Its own stretch meets what is on the way.
            await shard.look_anew()
            return 0.0
        except DBAPIError as error:
            if fault_of(error) not in {Fault.SLOW, Fault.LOCKED, Fault.OF_A_ROW}:
                raise
            # What is on the way is met by its own stretch; up to there fewer rows may go.
            self.above = above if rows > 1 else ()
            self._rows = max(1, rows // 8)
            return 0.0
        if pruned.deleted:
            shard.state = state
            self._rows = max(1, shard.pace.resized(rows, work))
        self.above = pruned.above
        logger.debug("batch on the way up: rows=%d seconds=%.6f", pruned.deleted, work)
        return work


def ways_up(
    policy: RetentionPolicy, references: Sequence[SelfReference], places: Sequence[Place], rows: int
) -> ColumnElement[bool]:
    """Return the condition that a row is one of the first so many on the ways up that begin at those places."""
    seeds = rows_with_ends(policy, references).where(is_at(places), policy.row_filter).correlate(None)
    begin = seeds.cte("kq_begin").prefix_with("MATERIALIZED")
    referred_to = or_(*(_is_referred_to(policy, begin, *one) for one in enumerate(references)))
    up = select(*begin.c).where(~referred_to).cte("kq_up", recursive=True)
    above = rows_above(policy, references, up, policy.row_filter)
    up = up.union(select(*above.c).select_from(up.join(above, true())))
    return tuple_(tableoid, ctid).in_(select(up.c.kq_table, up.c.kq_place).limit(rows))


def _is_referred_to(policy: RetentionPolicy, begin: CTE, number: int, reference: SelfReference) -> ColumnElement[bool]:
    """Return the condition that another row refers to a row."""
    ends: list[Label[Any]] = [column(name).label(f"kq_{at}") for at, name in enumerate(reference.columns)]
    rows = select(tableoid.label("kq_table"), ctid.label("kq_place"), *ends).select_from(policy.table).correlate(None)
    other = (rows if reference.holds_all else rows.where(policy.row_filter)).subquery(f"kq_by_{number}")
    refers = (other.c[f"kq_{at}"] == begin.c[f"kq_to_{number}_{at}"] for at in range(len(reference.columns)))
    return exists().where(*refers, ~same_row(other, begin))
