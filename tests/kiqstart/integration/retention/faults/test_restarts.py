"""A PostgreSQL that is stopped in the middle of a run and started again."""

import asyncio
import signal

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker
from tests.kiqstart.integration.retention.faults.engines import quick_settings, retention_engine
from tests.kiqstart.integration.retention.faults.private_server import FAST, IMMEDIATE, PrivateServer
from tests.kiqstart.integration.retention.faults.run_store import RUN, counted, wait_until_counted
from tests.kiqstart.integration.retention.faults.tables import expired, fill, rows_left

from kiqstart.retention.report import RetentionReport, StopReason

TERMINATE_BUSY = text("""
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE state <> 'idle' AND pid <> pg_backend_pid() AND backend_type = 'client backend'
""")


async def keep_commits(pool: AsyncEngine) -> None:
    """Let a crash of the server lose nothing of what was committed until now."""
    async with pool.begin() as connection:
        await connection.execute(text("CHECKPOINT"))


async def run(pool: AsyncEngine, **settings: float) -> RetentionReport:
    return await retention_engine(async_sessionmaker(pool), quick_settings(**settings)).run(expired(), run_id=RUN)


@pytest.mark.parametrize("how", [IMMEDIATE, FAST])
async def test_a_run_goes_on_where_the_server_was_when_it_comes_back(
    stoppable_server: PrivateServer, private_pool: AsyncEngine, how: signal.Signals
) -> None:
    async with private_pool.begin() as connection:
        await fill(connection, expired=1000, kept=100)
        before = await rows_left(connection)
    await keep_commits(private_pool)
    task = asyncio.create_task(run(private_pool, pause=0.005))
    # A crash loses all of the run, its beginning included; another one all since a while before.
    for kept, lost in ((0, 100), (100, 500)):
        await wait_until_counted(private_pool, kept)
        if kept:
            await keep_commits(private_pool)
        await wait_until_counted(private_pool, lost)
        await asyncio.to_thread(stoppable_server.stop, how)
        assert not task.done()
        await asyncio.to_thread(stoppable_server.start)
        assert (await counted(private_pool) < lost) is (how is IMMEDIATE)

    report = await task

    assert (report.deleted, report.failed, report.skipped, report.stopped) == (1000, 0, 0, StopReason.END)
    # With batches, a crash loses what they had waited.
    assert report.waited > 0 or how is IMMEDIATE
    async with private_pool.connect() as connection:
        assert await rows_left(connection) == {key: row for key, row in before.items() if row[0] >= 100}


async def test_a_run_fails_when_the_server_stays_away_and_can_be_gone_on_with(
    stoppable_server: PrivateServer, private_pool: AsyncEngine
) -> None:
    async with private_pool.begin() as connection:
        await fill(connection, expired=400, kept=100)
    task = asyncio.create_task(run(private_pool, pause=0.01, reconnect_wait=0.3))
    await wait_until_counted(private_pool, 100)
    await asyncio.to_thread(stoppable_server.stop, FAST)
    with pytest.raises((OSError, DBAPIError)):
        await task
    await asyncio.to_thread(stoppable_server.start)
    async with private_pool.connect() as connection:
        left = len(await rows_left(connection))
    assert 100 < left < 500

    report = await run(private_pool, takeover_after=1.0)

    assert (report.deleted, report.stopped) == (400, StopReason.END)
    async with private_pool.connect() as connection:
        assert len(await rows_left(connection)) == 100


async def test_backends_that_are_terminated_at_any_moment(private_pool: AsyncEngine) -> None:
    async with private_pool.begin() as connection:
        await fill(connection, expired=500, kept=100)
    task = asyncio.create_task(run(private_pool, batch_rows=2))
    terminated = 0
    while terminated < 5 and not task.done():
        await wait_until_counted(private_pool, terminated * 80 + 5)
        # At another moment of a batch each time.
        await asyncio.sleep(terminated / 2000)
        async with private_pool.connect() as connection:
            terminated += len((await connection.execute(TERMINATE_BUSY)).all())

    assert (await task).deleted == 500
    assert terminated >= 5
    async with private_pool.connect() as connection:
        assert len(await rows_left(connection)) == 100
