"""Which way a run goes through its table, and why."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import literal, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.action import check_action
from kiqstart.retention.errors import PolicyError
from kiqstart.retention.expired_partitions import check_partitions
from kiqstart.retention.explain import explain
from kiqstart.retention.faults import refused_by_server
from kiqstart.retention.index import CursorIndex, find_index
from kiqstart.retention.key_walk import KeyWalk
from kiqstart.retention.page_walk import PageWalk
from kiqstart.retention.policy import RetentionPolicy, WalkKind
from kiqstart.retention.relation import Relation, read_relation
from kiqstart.retention.table import (
    TableSize,
    qualified_name,
    read_column_statistics,
    read_table_size,
)
from kiqstart.retention.walk import Walk

_IS_PARTITIONED: Final = text("SELECT relkind = 'p' FROM pg_class WHERE oid = CAST(:table AS regclass)")


@dataclass(frozen=True, slots=True)
class WalkChoice:
    """The way through the table, why, and about how many rows there are to delete.

    `index` is the one that leads along the cursor, if it was looked for and found.
    """

    kind: WalkKind
    reason: str
    rows: int
    size: TableSize
    relation: Relation
    index: CursorIndex | None

    def walk(self, policy: RetentionPolicy, kind: WalkKind, size: TableSize) -> Walk:
        """Build the walk of a kind, through a table of that size."""
        if kind is WalkKind.PAGES:
            return PageWalk(policy=policy, size=size)
        return KeyWalk(policy=policy, size=size, index=self.index)


async def choose_walk(connection: AsyncConnection, policy: RetentionPolicy) -> WalkChoice:
    """Decide by what PostgreSQL knows: indexes, statistics, sizes, and its own price of a page read.

    Raises:
        PolicyError: the policy asks for a walk that it cannot have; the text has the index to create.
    """
    policy.check()
    relation = await read_relation(connection, policy)
    await check_action(connection, policy)
    await check_partitions(connection, policy)
    size = await read_table_size(connection, policy.table)
    with refused_by_server(policy.name):
        rows = (await explain(connection, select(literal(1)).select_from(policy.table).where(policy.rows))).rows
    index = None if policy.walk is WalkKind.PAGES or not policy.cursor else await find_index(connection, policy)
    kind, reason = await _decide(connection, policy, size, rows, index)
    rows = min(rows, size.rows) if size.pages else 0
    return WalkChoice(kind=kind, reason=reason, rows=rows, size=size, relation=relation, index=index)


def may_go_on(policy: RetentionPolicy, choice: WalkChoice, kind: WalkKind) -> bool:
    """Whether a run can go on the way that it went before, whatever would be chosen now."""
    if kind is choice.kind:
        return True
    if policy.walk is not None:
        return False
    return kind is WalkKind.PAGES or choice.index is not None


def make_walk(policy: RetentionPolicy, kind: WalkKind, size: TableSize) -> Walk:
    """Build the walk of that kind, to compare with."""
    return KeyWalk(policy=policy, size=size) if kind is WalkKind.KEY else PageWalk(policy=policy, size=size)


async def _decide(
    connection: AsyncConnection,
    policy: RetentionPolicy,
    size: TableSize,
    rows: int,
    index: CursorIndex | None,
) -> tuple[WalkKind, str]:
    if policy.walk is WalkKind.PAGES:
        return WalkKind.PAGES, "the policy asks for it"
    if not policy.cursor:
        return WalkKind.PAGES, "the policy has no cursor"
    first = policy.key[0]
    if index is None:
        missing = f"no index leads to its rows in the order of {first.name!r}"
        if policy.walk is WalkKind.KEY:
            raise PolicyError(
                policy.name,
                f"{missing}: {await _index_to_create(connection, policy)}, or let the engine choose the walk",
            )
        return WalkKind.PAGES, missing
    if policy.walk is WalkKind.KEY:
        return WalkKind.KEY, "the policy asks for it"
    statistics = await read_column_statistics(connection, first)
    if statistics is None:
        return WalkKind.KEY, f"an index leads along {first.name!r}, and the table was never analysed"
    share = rows / size.rows if size.rows else 0.0
    return WalkKind.KEY if index.cost <= size.cost else WalkKind.PAGES, (
        f"about {rows:,} of {size.rows:,} rows go, {min(share, 1):.0%}; about {index.rows:,} lie before its end in the "
        f"index, and the heap follows {first.name!r} by {statistics.correlation:.2f}; cost {index.cost:,.0f} by the "
        f"index, {size.cost:,.0f} by the pages"
    )


async def _index_to_create(connection: AsyncConnection, policy: RetentionPolicy) -> str:
    table, quote = qualified_name(connection, policy.table), connection.dialect.identifier_preparer.quote
    index = f"ON {table} ({', '.join(quote(column.name) for column in policy.columns(policy.cursor))})"
    if not await connection.scalar(_IS_PARTITIONED, {"table": table}):
        return f"run `CREATE INDEX CONCURRENTLY {index}`"
    # PostgreSQL refuses to index a partitioned table concurrently, but adopts what it finds on the partitions.
    return f"run `CREATE INDEX {index}` (to spare writers, create it on each partition CONCURRENTLY before)"
