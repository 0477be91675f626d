"""The rows that are deleted and those that are kept: each data set is made once, and every run gets a fresh copy."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from pydantic import SecretStr

from benchmarks.retention.connection import Connection, connect, fetch_int
from benchmarks.retention.results import Layout, Table
from benchmarks.retention.server import Server
from todo_service.infrastructure.database.database import service_database
from todo_service.infrastructure.database.engine import create_engine
from todo_service.infrastructure.database.settings import DatabaseSettings

DAYS_OLD: Final = 30
"""The argument of the clean-up of sessions."""

DELETABLE: Final = {
    Table.SESSIONS: f"expires_at < now() - interval '{DAYS_OLD} days'",
    Table.TODOS: ("is_completed AND EXISTS (SELECT FROM users WHERE users.id = todos.user_id AND users.is_active)"),
}
"""The rows that the tasks delete."""

_MOST_USERS: Final = 100_000

_USERS: Final = """
INSERT INTO users (username, email, is_active)
SELECT 'user-' || n, 'user-' || n || '@example.com', n % 10 <> 0 FROM generate_series(1, $1::bigint) AS n
"""

# $1 rows are deleted and as many kept, in this order or in that of a hash. Expiries keep a day's distance from the
# limit, so that none passes it while the benchmark runs.
_ROWS: Final = {
    Table.SESSIONS: """
INSERT INTO refresh_sessions
    (user_id, refresh_token_hash, user_agent, ip_address, created_at, last_used_at, expires_at)
SELECT
    1 + (hashint8extended(n, 7) & 9223372036854775807) % $2::bigint,
    sha256(convert_to('session ' || n, 'UTF8')),
    'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
    inet '192.0.2.0' + n % 256,
    expires_at - interval '30 days',
    expires_at - interval '29 days',
    expires_at
FROM (
    SELECT n, now() + CASE
        WHEN n < $1::bigint THEN interval '-331 days' + n * (interval '300 days' / $1)
        ELSE interval '-29 days' + (n - $1) * (interval '58 days' / $1)
    END AS expires_at
    FROM generate_series(0, 2 * $1 - 1) AS n
) AS numbers
ORDER BY CASE WHEN $3::boolean THEN hashint8extended(n, 1) ELSE n END
""",
    # Each tenth user is inactive; half of what is kept of theirs is completed.
    Table.TODOS: """
INSERT INTO todos (user_id, title, is_completed, completed_at, created_at)
SELECT user_id, 'Water the plant no. ' || n, is_completed,
    CASE WHEN is_completed THEN now() - interval '1 day' END, now() - interval '40 days'
FROM (
    SELECT n, user_id, n < $1 OR user_id % 10 = 0 AND n % 2 = 0 AS is_completed
    FROM (
        SELECT n, CASE
            WHEN n < $1::bigint THEN 1 + hash % ($2::bigint * 9 / 10) + hash % ($2 * 9 / 10) / 9
            ELSE 1 + hash % $2
        END AS user_id
        FROM (
            SELECT n, hashint8extended(n, 7) & 9223372036854775807 AS hash FROM generate_series(0, 2 * $1 - 1) AS n
        ) AS hashes
    ) AS owners
) AS numbers
ORDER BY CASE WHEN $3::boolean THEN hashint8extended(n, 1) ELSE n END
""",
}

# Indexes that are built after the rows are there are built faster.
_CONSTRAINTS: Final = """
SELECT conname::text AS name, pg_get_constraintdef(oid) AS definition
FROM pg_constraint WHERE conrelid = $1::text::regclass AND contype IN ('p', 'u', 'f') ORDER BY contype DESC
"""
_INDEXES: Final = """
SELECT relname::text AS name, pg_get_indexdef(indexrelid) AS definition
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE indrelid = $1::text::regclass
    AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND conrelid = indrelid)
"""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """`rows` rows to delete and as many to keep; where it is `cleaned`, the former are deleted and vacuumed away."""

    table: Table
    layout: Layout
    rows: int
    cleaned: bool = False


@dataclass(frozen=True)
class Datasets:
    """Gives databases with a data set in them."""

    server: Server
    _templates: dict[Dataset, str] = field(default_factory=dict)

    @asynccontextmanager
    async def fresh_copy(self, dataset: Dataset, *, beside_old_transaction: bool = False) -> AsyncGenerator[str]:
        """Make a copy of its own for a run, give its URL, and drop it.

        The table has been read once, a checkpoint is just over, and a transaction that reads is open since before,
        where that is asked for.
        """
        template = await self._template(dataset)
        name = f"{self.server.prefix}_run"
        await self.server.create(name, template=template)
        url = self.server.url(name)
        try:
            async with AsyncExitStack() as stack:
                if beside_old_transaction:
                    await _keep_snapshot(await stack.enter_async_context(connect(url)))
                async with connect(url) as connection:
                    # A whole row as the argument, so that no index answers this.
                    await fetch_int(connection, f"SELECT count({dataset.table}) FROM {dataset.table}")
                    await connection.execute("CHECKPOINT")
                yield url
        finally:
            await self.server.drop(name)

    async def _template(self, dataset: Dataset) -> str:
        if dataset not in self._templates:
            name = f"{self.server.prefix}_template_{len(self._templates)}"
            await self.server.create(name)
            await self._make(dataset, self.server.url(name))
            self._templates[dataset] = name
        return self._templates[dataset]

    async def _make(self, dataset: Dataset, url: str) -> None:
        engine = create_engine(DatabaseSettings(database_url=SecretStr(url)))
        await service_database(engine).upgrade()
        await engine.dispose()
        async with connect(url) as connection:
            for table in ("users", dataset.table):
                await connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
            await connection.execute("SET synchronous_commit = off")
            await connection.execute("SET maintenance_work_mem = '256MB'")
            await _load(connection, dataset)
            if dataset.cleaned:
                await connection.execute(f"DELETE FROM {dataset.table} WHERE {DELETABLE[dataset.table]}")
            await connection.execute("VACUUM (ANALYZE) users")
            await connection.execute(f"VACUUM (ANALYZE) {dataset.table}")


async def count_deletable(url: str, table: Table) -> int:
    """Count the rows that are still to be deleted."""
    async with connect(url) as connection:
        return await fetch_int(connection, f"SELECT count(*) FROM {table} WHERE {DELETABLE[table]}")


async def _load(connection: Connection, dataset: Dataset) -> None:
    table = dataset.table
    users = max(10, min(_MOST_USERS, dataset.rows // 10) // 10 * 10)
    await connection.execute(_USERS, users)
    constraints = await connection.fetch(_CONSTRAINTS, table)
    indexes = await connection.fetch(_INDEXES, table)
    for constraint in constraints:
        await connection.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{constraint["name"]}"')
    for index in indexes:
        await connection.execute(f'DROP INDEX "{index["name"]}"')
    await connection.execute(_ROWS[table], dataset.rows, users, dataset.layout is Layout.SHUFFLED)
    for index in indexes:
        await connection.execute(str(index["definition"]))
    for constraint in constraints:
        await connection.execute(
            f'ALTER TABLE {table} ADD CONSTRAINT "{constraint["name"]}" {constraint["definition"]}'
        )


async def _keep_snapshot(connection: Connection) -> None:
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    await connection.fetch("SELECT FROM users LIMIT 1")
