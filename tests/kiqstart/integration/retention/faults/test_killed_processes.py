"""Processes that are killed or frozen in the middle of a run, which others then take over."""

import asyncio
import signal
from collections.abc import Callable

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.deadlines import HANG
from tests.kiqstart.integration.retention.faults.run_store import RUN, counted, wait_until_counted
from tests.kiqstart.integration.retention.faults.tables import expired, fill, rows_left
from tests.kiqstart.integration.retention.faults.worker import Task

from kiqstart.retention.engine import RetentionEngine
from kiqstart.testing import ServiceProcess

MakeRetention = Callable[..., RetentionEngine]
StartWorker = Callable[[Task], ServiceProcess]

SLOWLY = {"pause": 0.05, "takeover_after": 1.0}


async def test_kill_9_again_and_again(
    tables: AsyncEngine, database_url: str, start_worker: StartWorker, make_retention: MakeRetention
) -> None:
    async with tables.begin() as connection:
        await fill(connection, expired=500, kept=100)
        before = await rows_left(connection)
    for _ in range(2):
        deleted = await counted(tables)
        process = start_worker(Task(url=database_url, run_id=RUN, settings=SLOWLY))
        await wait_until_counted(tables, deleted + 50)
        process.kill()

    async with tables.connect() as connection:
        left = await rows_left(connection)
    deleted = await counted(tables)
    assert 100 <= deleted < 450, "it was killed in the middle"
    assert len(left) == 600 - deleted

    report = await make_retention(takeover_after=1.0).run(expired(), run_id=RUN)

    assert report.deleted == await counted(tables) == 500
    async with tables.connect() as connection:
        assert await rows_left(connection) == {key: row for key, row in before.items() if row[0] >= 100}


async def test_a_frozen_process_deletes_nothing_more_once_others_have_taken_over(
    tables: AsyncEngine, database_url: str, start_worker: StartWorker, make_retention: MakeRetention
) -> None:
    async with tables.begin() as connection:
        await fill(connection, expired=400, kept=50)
    process = start_worker(Task(url=database_url, run_id=RUN, settings=SLOWLY))
    await wait_until_counted(tables, 50)
    process.send_signal(signal.SIGSTOP)
    report = await make_retention(takeover_after=1.0).run(expired(), run_id=RUN)
    assert report.deleted == 400
    async with tables.begin() as connection:
        # These came after the run.
        await connection.execute(text("INSERT INTO int_entries SELECT n, 89, '' FROM generate_series(1001, 1100) n"))

    process.send_signal(signal.SIGCONT)

    assert await asyncio.to_thread(process.wait) == 0
    assert "is not where this worker left it" in process.log
    assert "counts 400 rows" in process.log
    assert await counted(tables) == 400
    async with tables.connect() as connection:
        assert len(await rows_left(connection)) == 150


async def test_a_process_that_is_frozen_in_a_transaction_holds_nobody_up(
    tables: AsyncEngine, database_url: str, start_worker: StartWorker, make_retention: MakeRetention
) -> None:
    async with tables.begin() as connection:
        await fill(connection, expired=400, kept=50)
    # Opening, taking the shard, asking for the load, and a batch come before.
    process = start_worker(Task(url=database_url, run_id=RUN, freezes_at_commit=6, settings=SLOWLY))
    await asyncio.to_thread(process.wait_for_log, "freezes")
    assert 0 < await counted(tables) < 400

    async with asyncio.timeout(HANG):
        report = await make_retention(takeover_after=1.0).run(expired(), run_id=RUN)
    assert (report.deleted, report.skipped) == (400, 0)

    process.send_signal(signal.SIGCONT)
    assert await asyncio.to_thread(process.wait) == 0
    assert "counts 400 rows" in process.log
    assert await counted(tables) == 400
    async with tables.connect() as connection:
        assert len(await rows_left(connection)) == 50
