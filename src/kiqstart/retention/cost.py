"""What a batch's statement reads and writes, as PostgreSQL itself counts it (EXPLAIN ANALYZE)."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ClauseElement

from kiqstart.retention.explain import run_and_explain
from kiqstart.retention.stored_numbers import Count

# To count costs half as much again, so few batches do it: the first, a small one, and then one of so many.
_FIRST: Final = 1
_EACH: Final = 64


@dataclass(frozen=True, slots=True)
class RowCost:
    """What a row's deletion cost: blocks found in shared buffers, read from outside them, made dirty; bytes of WAL."""

    blocks_hit: float
    blocks_read: float
    blocks_dirtied: float
    wal_bytes: float


@dataclass(frozen=True, slots=True)
class BatchCost:
    """What so many rows of the batches that were measured cost."""

    rows: Count = 0
    blocks_hit: Count = 0
    blocks_read: Count = 0
    blocks_dirtied: Count = 0
    wal_bytes: Count = 0

    def __add__(self, other: "BatchCost") -> "BatchCost":
        """Return the sum of two."""
        return BatchCost(
            self.rows + other.rows,
            self.blocks_hit + other.blocks_hit,
            self.blocks_read + other.blocks_read,
            self.blocks_dirtied + other.blocks_dirtied,
            self.wal_bytes + other.wal_bytes,
        )

    @property
    def per_row(self) -> RowCost | None:
        """What each row cost on average; None if none was measured."""
        if not self.rows:
            return None
        sums = (self.blocks_hit, self.blocks_read, self.blocks_dirtied, self.wal_bytes)
        return RowCost(*(round(one / self.rows, 3) for one in sums))


@dataclass(frozen=True, slots=True)
class Measured:
    """A statement that was run: what it cost, and the rows that it and each of its CTEs came to."""

    cost: BatchCost
    rows_of: dict[str, int]


def is_measured(batches: int) -> bool:
    """Whether the batch after so many others is measured."""
    return batches < _FIRST or batches % _EACH == 0


async def measure(connection: AsyncConnection, statement: ClauseElement) -> Measured:
    """Run a statement, and count what it reads and writes; triggers after it and cascades are not counted."""
    plan = await run_and_explain(connection, statement)
    rows = {
        node.subplan.removeprefix("CTE "): round(node.actual_rows * node.actual_loops)
        for node in plan.nodes()
        if node.subplan
    }
    cost = BatchCost(0, plan.blocks_hit, plan.blocks_read, plan.blocks_dirtied, plan.wal_bytes)
    return Measured(cost, {"": round(plan.actual_rows), **rows})
