"""Which scan a run goes through its table by, and why."""

from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import literal, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.action import check_action
from kiqstart.retention.errors import PolicyError
from kiqstart.retention.expired_partitions import check_partitions
from kiqstart.retention.explain import explain
from kiqstart.retention.faults import refused_by_server
from kiqstart.retention.heap import leaves_out_partitions
from kiqstart.retention.index import CursorIndex, find_index
from kiqstart.retention.index_scan import IndexScan, key_basis
from kiqstart.retention.page_scan import PageScan
from kiqstart.retention.policy import RetentionPolicy, ScanKind
from kiqstart.retention.relation import Relation, read_relation
from kiqstart.retention.scan import Scan
from kiqstart.retention.table import (
    ColumnStatistics,
    TableSize,
    qualified_name,
    read_column_statistics,
    read_pages_of,
    read_table_size,
)

_IS_PARTITIONED: Final = text("SELECT relkind = 'p' FROM pg_class WHERE oid = CAST(:table AS regclass)")
# Where the heap follows the cursor as far as that, and so many of the index's rows go, ends are guessed; but not of a
# value that more rows have than these.
_FOLLOWS: Final = 0.99
_NEARLY_ALL: Final = 0.9
_MOST_EQUAL: Final = 10_000


@dataclass(frozen=True, slots=True)
class ScanChoice:
    """The way through the table, why, and about how many rows there are to delete.

    `index` is the one that leads along the cursor, if it was looked for and found.
    """

    kind: ScanKind
    reason: str
    rows: int
    size: TableSize
    relation: Relation
    index: CursorIndex | None

    def scan(self, policy: RetentionPolicy, kind: ScanKind, size: TableSize) -> Scan:
        """Build the scan of a kind, through a table of that size."""
        if kind is ScanKind.PAGES:
            return PageScan(policy=policy, size=size)
        size = replace(size, share=self.size.share)
        return IndexScan(policy=policy, size=size, types=self.relation.types, index=self.index)


async def choose_scan(connection: AsyncConnection, policy: RetentionPolicy) -> ScanChoice:
    """Decide by what PostgreSQL knows: indexes, statistics, sizes, and its own price of a page read.

    Raises:
        PolicyError: the policy asks for a scan that it cannot have; the text has the index to create.
    """
    policy.check()
    relation = await read_relation(connection, policy)
    await check_action(connection, policy)
    await check_partitions(connection, policy)
    size = await read_table_size(connection, policy.table)
    with refused_by_server(policy.name):
        plan = await explain(connection, select(literal(1)).select_from(policy.table).where(policy.rows))
    if size.pages and leaves_out_partitions(policy, size):
        size = replace(size, share=await read_pages_of(connection, policy.table, plan.relations()) / size.pages)
    index = None if policy.scan is ScanKind.PAGES or not policy.cursor else await find_index(connection, policy)
    kind, reason = await _decide(connection, policy, size, plan.rows, index)
    rows = min(plan.rows, size.rows) if size.pages else 0
    return ScanChoice(kind=kind, reason=reason, rows=rows, size=size, relation=relation, index=index)


def may_go_on(policy: RetentionPolicy, choice: ScanChoice, kind: ScanKind) -> bool:
    """Whether a run can go on the way that it went before, whatever would be chosen now."""
    if kind is choice.kind:
        return True
    if policy.scan is not None:
        return False
    return kind is ScanKind.PAGES or choice.index is not None


def basis_of(policy: RetentionPolicy, kind: ScanKind, size: TableSize) -> str:
    """Return what the positions of a scan of that kind refer to."""
    return key_basis(policy) if kind is ScanKind.KEY else size.storage


async def _decide(
    connection: AsyncConnection,
    policy: RetentionPolicy,
    size: TableSize,
    rows: int,
    index: CursorIndex | None,
) -> tuple[ScanKind, str]:
    if policy.scan is ScanKind.PAGES:
        return ScanKind.PAGES, "the policy asks for it"
    if not policy.cursor:
        return ScanKind.PAGES, "the policy has no cursor"
    first = policy.key[0]
    if index is None:
        missing = f"no index leads to its rows in the order of {first.name!r}"
        if policy.scan is ScanKind.KEY:
            raise PolicyError(
                policy.name,
                f"{missing}: {await _index_to_create(connection, policy)}, or let the engine choose the scan",
            )
        return ScanKind.PAGES, missing
    if policy.scan is ScanKind.KEY:
        return ScanKind.KEY, "the policy asks for it"
    statistics = await read_column_statistics(connection, first)
    if statistics is None:
        return ScanKind.KEY, f"an index leads along {first.name!r}, and the table was never analysed"
    share = rows / size.rows if size.rows else 0.0
    cost = index.cost_of_rows if _guesses_ends(size, rows, index, statistics) else index.cost
    return ScanKind.KEY if cost <= size.cost else ScanKind.PAGES, (
        f"about {rows:,} of {size.rows:,} rows go, {min(share, 1):.0%}; about {index.rows:,} lie before its end in the "
        f"index, and the heap follows {first.name!r} by {statistics.correlation:.2f}; cost {cost:,.0f} by the "
        f"index, {size.cost:,.0f} by the pages"
    )


def _guesses_ends(size: TableSize, rows: int, index: CursorIndex, statistics: ColumnStatistics) -> bool:
    """Whether ends are guessed (`IndexScan.guess`), so that the index is gone through only once."""
    is_in_order = size.is_one and statistics.correlation >= _FOLLOWS
    return is_in_order and rows >= _NEARLY_ALL * index.rows and statistics.commonest * size.rows <= _MOST_EQUAL


async def _index_to_create(connection: AsyncConnection, policy: RetentionPolicy) -> str:
    table, quote = qualified_name(connection, policy.table), connection.dialect.identifier_preparer.quote
    index = f"ON {table} ({', '.join(quote(column.name) for column in policy.columns(policy.cursor))})"
    if not await connection.scalar(_IS_PARTITIONED, {"table": table}):
        return f"run `CREATE INDEX CONCURRENTLY {index}`"
    # PostgreSQL refuses to index a partitioned table concurrently, but adopts what it finds on the partitions.
    return f"run `CREATE INDEX {index}` (to spare writers, create it on each partition CONCURRENTLY before)"
