"""Many rows, and what the database itself says became of them."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncEngine

from kiqstart.testing import eventually

# The environment of a worker whose clean-ups take long enough for something to happen in the middle.
SLOW: Final = {"RETENTION_PACE": "full", "RETENTION_BATCH_ROWS": "100", "RETENTION_PAUSE": "0.02"}

_ADD_USERS: Final = text("""
INSERT INTO users (username, email) SELECT 'user ' || n, n || '@example.org' FROM generate_series(1, 100) AS n
ON CONFLICT DO NOTHING
""")
_ADD_TODOS: Final = text("""
INSERT INTO todos (user_id, title, is_completed, completed_at)
SELECT 1 + n % 100, 'todo ' || n, :completed, CASE WHEN :completed THEN now() END
FROM generate_series(1, CAST(:count AS int)) AS n
""")
_ADD_SESSIONS: Final = text("""
INSERT INTO refresh_sessions (user_id, refresh_token_hash, created_at, expires_at)
SELECT 1 + n % 100, sha256(convert_to(gen_random_uuid()::text, 'UTF8')), now() - interval '400 days',
    now() - make_interval(days => :days_ago) + n * interval '1 second'
FROM generate_series(1, CAST(:count AS int)) AS n
""")
_COUNT: Final = text("SELECT count(*) FILTER (WHERE is_completed), count(*) FILTER (WHERE NOT is_completed) FROM todos")
_DELETED: Final = text("SELECT coalesce(sum((state ->> 'deleted')::int), 0) FROM retention_runs")
_RUNS: Final = text("""
SELECT run_id, count(*) AS shards, sum((state ->> 'deleted')::int) AS deleted, bool_or(resumed) AS resumed,
    clock_timestamp() - max(heartbeat_at) > interval '1 s' AS is_silent
FROM retention_runs GROUP BY run_id ORDER BY min(started_at)
""")
_CUT: Final = text("""
SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
""")


@dataclass(frozen=True)
class Rows:
    """The todos of some users, and the run store of the runs that delete them."""

    engine: AsyncEngine

    async def add(self, *, completed: int, others: int = 100) -> None:
        """Add so many completed todos and others of a hundred users, all of it known to PostgreSQL's planner."""
        async with self.engine.begin() as connection:
            await connection.execute(_ADD_USERS)
            for is_completed, count in ((True, completed), (False, others)):
                await connection.execute(_ADD_TODOS, {"completed": is_completed, "count": count})
            await connection.execute(text("ANALYZE users, todos"))

    async def add_sessions(self, count: int, *, expired_days_ago: int) -> None:
        """Add sessions of the users that are there, which have expired a second apart."""
        async with self.engine.begin() as connection:
            await connection.execute(_ADD_SESSIONS, {"count": count, "days_ago": expired_days_ago})

    async def sessions_left(self) -> int:
        """Count the sessions."""
        async with self.engine.connect() as connection:
            return int((await connection.execute(text("SELECT count(*) FROM refresh_sessions"))).scalar_one())

    async def left(self) -> tuple[int, int]:
        """Count the completed todos and the others."""
        async with self.engine.connect() as connection:
            completed, others = (await connection.execute(_COUNT)).one()
        return completed, others

    async def deleted(self) -> int:
        """What the run store has counted so far."""
        async with self.engine.connect() as connection:
            return int((await connection.execute(_DELETED)).scalar_one())

    async def wait_for_deleted(self, rows: int) -> None:
        """Wait until at least so many are deleted."""

        async def enough() -> bool:
            return await self.deleted() >= rows

        await eventually(enough)

    async def runs(self) -> list[RowMapping]:
        """The run store's runs, oldest first."""
        async with self.engine.connect() as connection:
            return list((await connection.execute(_RUNS)).mappings())

    async def wait_for_silence(self) -> None:
        """Wait until no run has shown life for a second."""

        async def silent() -> bool:
            return all(run["is_silent"] for run in await self.runs())

        await eventually(silent)

    @asynccontextmanager
    async def locked(self, todo: int) -> AsyncGenerator[None]:
        """Hold a lock on a row, so that whoever wants to delete it waits in the middle of a transaction."""
        async with self.engine.begin() as connection:
            await connection.execute(text("SELECT 1 FROM todos WHERE id = :id FOR UPDATE"), {"id": todo})
            yield

    async def cut_whoever_waits(self, *, times: int) -> None:
        """End so many connections that wait for a lock, as soon as there are any."""
        cut: set[int] = set()

        async def enough() -> bool:
            async with self.engine.connect() as connection:
                cut.update(await connection.scalars(_CUT))
            return len(cut) >= times

        await eventually(enough)
