"""A real replica that falls behind."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, async_sessionmaker, create_async_engine
from tests.kiqstart.integration.retention.faults.engines import quick_settings, retention_engine
from tests.kiqstart.integration.retention.faults.private_server import PrivateServer
from tests.kiqstart.integration.retention.faults.tables import expired, fill, rows_left
from tests.service import database_settings

from kiqstart.retention.progress import RetentionProgress
from kiqstart.testing import eventually

LAG = text("SELECT extract(epoch FROM replay_lag)::float FROM pg_stat_replication")


async def write_until(pool: AsyncEngine, holds: Callable[[float | None], bool]) -> None:
    """Write something again and again until it holds of the replica's lag."""

    async def is_so() -> bool:
        async with pool.begin() as connection:
            # Replicas get nothing that is not on the disk.
            await connection.execute(text("SET LOCAL synchronous_commit = local"))
            await connection.execute(text("UPDATE int_entries SET note = note WHERE id = 1"))
            return holds(await connection.scalar(LAG))

    await eventually(is_so)


@asynccontextmanager
async def paused_replay(replica: PrivateServer) -> AsyncGenerator[AsyncConnection]:
    """Let the replica fall behind, until the connection says otherwise."""
    # What has a transaction open there would hold up the replay.
    pool = create_async_engine(database_settings(replica.url).parsed_url().url, isolation_level="AUTOCOMMIT")
    async with pool.connect() as connection:
        await connection.execute(text("SELECT pg_wal_replay_pause()"))
        yield connection
    await pool.dispose()


async def test_a_run_waits_for_a_replica_that_lags(stoppable_server: PrivateServer, private_pool: AsyncEngine) -> None:
    async with private_pool.begin() as connection:
        await fill(connection, expired=300, kept=50)
    waits = asyncio.Event()
    said: list[str] = []

    async def observe(progress: RetentionProgress) -> None:
        if progress.waiting is not None:
            said.append(progress.waiting)
            waits.set()

    settings = quick_settings(max_replica_lag=0.3, takeover_after=1.0)
    retention = retention_engine(async_sessionmaker(private_pool), settings)
    with stoppable_server.standby() as replica:
        await write_until(private_pool, lambda lag: lag is not None)
        async with paused_replay(replica) as on_replica:
            await write_until(private_pool, lambda lag: lag is not None and lag > settings.max_replica_lag)

            run = asyncio.create_task(retention.run(expired(), progress=observe))
            await waits.wait()
            async with private_pool.connect() as connection:
                assert len(await rows_left(connection)) == 350
            await on_replica.execute(text("SELECT pg_wal_replay_resume()"))
            report = await run

    assert "a replica that is" in said[0]
    assert report.waited > 0
    assert report.deleted == 300
