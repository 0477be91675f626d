"""What the indexes that a clean-up could use cost those who write."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import product
from typing import Final

from benchmarks.retention.connection import Connection, connect, fetch_int
from benchmarks.retention.dataset import Dataset
from benchmarks.retention.plan import Plan
from benchmarks.retention.results import IndexPart, IndexRun, Layout, Table, Way
from benchmarks.retention.speed import WAL_POSITION
from kiqstart.testing import eventually

_BATCH: Final = 1_000
# One of so many rows that the table has is written one by one, and in batches.
_SHARES: Final = {Way.SINGLE: 50, Way.BATCHES: 10}

_STATEMENTS: Final = {
    (Table.SESSIONS, Way.SINGLE): """
INSERT INTO refresh_sessions (user_id, refresh_token_hash, user_agent, ip_address, expires_at)
VALUES ($1, $2, 'Mozilla/5.0 (X11; Linux x86_64)', inet '192.0.2.1', clock_timestamp() + interval '30 days')
""",
    (Table.SESSIONS, Way.BATCHES): """
INSERT INTO refresh_sessions (user_id, refresh_token_hash, user_agent, ip_address, expires_at)
SELECT user_id, token, 'Mozilla/5.0 (X11; Linux x86_64)', inet '192.0.2.1', clock_timestamp() + interval '30 days'
FROM unnest($1::bigint[], $2::bytea[]) AS new (user_id, token)
""",
    (Table.TODOS, Way.SINGLE): "UPDATE todos SET is_completed = true, completed_at = now() WHERE id = $1",
    (Table.TODOS, Way.BATCHES): (
        "UPDATE todos SET is_completed = true, completed_at = now() WHERE id = ANY ($1::bigint[])"
    ),
}
_UPDATES: Final = "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relid = 'todos'::regclass"
_HEAP_ONLY_UPDATES: Final = "SELECT n_tup_hot_upd FROM pg_stat_user_tables WHERE relid = 'todos'::regclass"


@dataclass(frozen=True, kw_only=True)
class _Variant:
    table: Table
    name: str
    change: str | None = None


_VARIANTS: Final = (
    _Variant(table=Table.SESSIONS, name="index on (expires_at)"),
    _Variant(table=Table.SESSIONS, name="without it", change="DROP INDEX ix_refresh_sessions_expires_at"),
    _Variant(table=Table.TODOS, name="no index on completed ones"),
    _Variant(
        table=Table.TODOS,
        name="index on (id) WHERE is_completed",
        change="CREATE INDEX ON todos (id) WHERE is_completed",
    ),
    _Variant(
        table=Table.TODOS,
        name="index on (completed_at) WHERE is_completed",
        change="CREATE INDEX ON todos (completed_at) WHERE is_completed",
    ),
)


async def measure_indexes(plan: Plan) -> IndexPart:
    """Insert sessions and complete todos, with and without an index, on tables that were just cleaned up."""
    cases = product(range(plan.repeat), _VARIANTS)
    runs = [run for _, variant in cases for run in await _run(plan, variant)]
    return IndexPart(environment=plan.environment, rows=plan.rows, repeat=plan.repeat, runs=runs)


async def _run(plan: Plan, variant: _Variant) -> list[IndexRun]:
    dataset = Dataset(table=variant.table, layout=Layout.SHUFFLED, rows=plan.rows, cleaned=True)
    async with plan.datasets.fresh_copy(dataset) as url:
        async with connect(url) as connection:
            if variant.change:
                await connection.execute(variant.change)
            count = sum(plan.rows // share for share in _SHARES.values())
            rows = await (_new_sessions if variant.table is Table.SESSIONS else _open_todos)(connection, count)
        runs: list[IndexRun] = []
        for way, share in _SHARES.items():
            taken, rows = rows[: plan.rows // share], rows[plan.rows // share :]
            runs.append(await _write(url, variant, way, taken))
    for run in runs:
        plan.progress.say(f"indexes: {variant.table}, {variant.name}, {run.way}: {run.rows / run.seconds:,.0f} rows/s")
    return runs


async def _new_sessions(connection: Connection, count: int) -> list[tuple[object, ...]]:
    users = await fetch_int(connection, "SELECT count(*) FROM users")
    choice = random.Random(0)  # noqa: S311  # nothing is secret here
    return [(choice.randint(1, users), sha256(b"new %d" % number).digest()) for number in range(count)]


async def _open_todos(connection: Connection, count: int) -> list[tuple[object, ...]]:
    query = "SELECT id FROM todos WHERE NOT is_completed ORDER BY hashint8(id) LIMIT $1"
    return [(row["id"],) for row in await connection.fetch(query, count)]


async def _write(url: str, variant: _Variant, way: Way, rows: Sequence[tuple[object, ...]]) -> IndexRun:
    async with connect(url) as observer:
        await observer.execute("CHECKPOINT")
        updates, heap_only = await fetch_int(observer, _UPDATES), await fetch_int(observer, _HEAP_ONLY_UPDATES)
        wal = await fetch_int(observer, WAL_POSITION)
        seconds = await _timed(url, _STATEMENTS[variant.table, way], way, rows)
        wal = await fetch_int(observer, WAL_POSITION) - wal
        if variant.table is Table.TODOS:
            # A server process hands in its counts when it ends.
            async def are_counted() -> bool:
                return await fetch_int(observer, _UPDATES) - updates >= len(rows)

            await eventually(are_counted)
            heap_only = await fetch_int(observer, _HEAP_ONLY_UPDATES) - heap_only
    return IndexRun(
        table=variant.table,
        variant=variant.name,
        way=way,
        rows=len(rows),
        seconds=seconds,
        wal_bytes=wal,
        heap_only=heap_only if variant.table is Table.TODOS else None,
    )


async def _timed(url: str, query: str, way: Way, rows: Sequence[tuple[object, ...]]) -> float:
    calls: list[tuple[object, ...]] = list(rows)
    if way is Way.BATCHES:
        starts = range(0, len(rows), _BATCH)
        calls = [tuple(map(list, zip(*rows[start : start + _BATCH], strict=True))) for start in starts]
    async with connect(url) as connection:
        # Else each commit waits for the disk, which hides everything else.
        await connection.execute("SET synchronous_commit = off")
        statement = await connection.prepare(query)
        started = time.monotonic()
        for arguments in calls:
            await statement.fetch(*arguments)
        return time.monotonic() - started
