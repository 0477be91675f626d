import asyncio
from contextlib import AsyncExitStack

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.deadlines import HANG
from tests.kiqstart.integration.retention.database import Database
from tests.kiqstart.integration.retention.policies import BOTH_SCANS, completed_todos
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.retention.load import PostgresLoad
from kiqstart.retention.policy import ScanKind
from kiqstart.retention.progress import RetentionProgress
from kiqstart.retention.report import StopReason
from kiqstart.retention.run_options import RunLimits
from kiqstart.retention.settings import RetentionSettings
from kiqstart.testing import eventually

pytestmark = pytest.mark.usefixtures("completed")


@BOTH_SCANS
async def test_a_run_rests_after_each_batch(make_retention: EngineFactory, scan: ScanKind) -> None:
    report = await make_retention(batch_rows=120, pause=0.05).run(completed_todos(scan))
    assert report.batches >= 4
    assert report.seconds >= report.batches * 0.05
    # It waits for nobody.
    assert (report.deleted, report.waited) == (500, 0)


@BOTH_SCANS
@pytest.mark.parametrize("batch_rows", [30, 100_000])
async def test_a_run_keeps_to_its_rows_per_second(
    make_retention: EngineFactory, scan: ScanKind, batch_rows: int
) -> None:
    retention = make_retention(rows_per_second=1000, batch_rows=batch_rows)
    report = await retention.run(completed_todos(scan), limits=RunLimits(rows=300))
    assert report.deleted == 300
    assert report.seconds >= 0.2
    # The rests are as short as the batches: no more than a tenth of a second's rows go at once.
    assert report.batches >= 3


async def test_shards_keep_to_the_rows_per_second_together(make_retention: EngineFactory) -> None:
    retention, policy = make_retention(rows_per_second=1000), completed_todos(ScanKind.PAGES)
    others: list[asyncio.Task[None]] = []

    async def invite(count: int) -> None:
        others.extend(asyncio.create_task(retention.join(policy, "one")) for _ in range(count))

    report = await retention.run(policy, run_id="one", shards=4, invite=invite)
    await asyncio.gather(*others)
    assert (report.deleted, len(others)) == (500, 3)
    assert report.seconds >= 0.3


async def test_a_resting_run_stops_at_once(make_retention: EngineFactory) -> None:
    stop = asyncio.Event()

    async def tell(_: RetentionProgress) -> None:
        stop.set()

    retention = make_retention(batch_rows=100, pause=60, takeover_after=61)
    report = await asyncio.wait_for(retention.run(completed_todos(ScanKind.KEY), stop=stop, progress=tell), HANG)
    # Of a hundred that it looked at.
    assert (report.deleted, report.stopped) == (50, StopReason.STOPPED)


class Busy:
    """A check that says so many times to wait."""

    def __init__(self, times: int) -> None:
        self.left = times

    async def reason_to_wait(self, connection: AsyncConnection) -> str | None:
        await connection.exec_driver_sql("SELECT 1")
        self.left -= 1
        return "the night shift" if self.left >= 0 else None


@pytest.mark.usefixtures("every_batch_is_reported")
async def test_a_run_waits_while_a_check_of_ones_own_says_so(
    make_retention: EngineFactory, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[RetentionProgress] = []

    async def watch(progress: RetentionProgress) -> None:
        seen.append(progress)

    caplog.set_level("INFO", "kiqstart.retention")
    # It shows life, and so asks, three times in the time after which it would be taken for dead.
    retention = make_retention(load=Busy(2), takeover_after=1)
    report = await retention.run(completed_todos(ScanKind.KEY), progress=watch)
    assert (report.deleted, report.stopped) == (500, StopReason.END)
    assert 0.5 <= report.waited <= report.seconds
    assert [one.waiting for one in seen] == ["the night shift", "the night shift", None, None]
    assert [one.deleted for one in seen] == [0, 0, 500, 500]
    said = [record.message for record in caplog.records]
    assert said.count("todos: waits for the night shift") == said.count("todos: goes on") == 1


async def test_a_waiting_run_stops_at_once(make_retention: EngineFactory, database: Database) -> None:
    stop = asyncio.Event()

    async def tell(progress: RetentionProgress) -> None:
        if progress.waiting == "the night shift":
            stop.set()

    retention = make_retention(load=Busy(1000))
    report = await retention.run(completed_todos(ScanKind.KEY), stop=stop, progress=tell)
    assert (report.deleted, report.stopped) == (0, StopReason.STOPPED)
    assert await database.count("todos") == 1000


async def test_a_waiting_run_keeps_its_time_budget(make_retention: EngineFactory) -> None:
    retention = make_retention(load=Busy(1000), takeover_after=1)
    report = await retention.run(completed_todos(ScanKind.KEY), limits=RunLimits(seconds=0.2))
    assert (report.deleted, report.stopped) == (0, StopReason.TIME_BUDGET)


async def test_a_run_waits_while_too_many_wait_for_locks(make_retention: EngineFactory, database: Database) -> None:
    retention = make_retention(max_lock_waiters=1, takeover_after=1)
    told, finished = asyncio.Event(), list[RetentionProgress]()

    async def watch(progress: RetentionProgress) -> None:
        finished.append(progress)
        if progress.waiting is not None:
            told.set()

    lock = "SELECT pg_advisory_xact_lock(hashtext(current_database()))"
    async with AsyncExitStack() as stack:
        holder, first, second = [await stack.enter_async_context(database.engine.connect()) for _ in range(3)]
        await holder.exec_driver_sql(lock)
        waiters = [asyncio.create_task(first.exec_driver_sql(lock))]

        async def all_wait() -> bool:
            return await database.waiting_for_locks() == len(waiters)

        await eventually(all_wait)
        # As many as may.
        assert (await retention.run(completed_todos(ScanKind.KEY), limits=RunLimits(rows=10))).waited == 0
        waiters.append(asyncio.create_task(second.exec_driver_sql(lock)))
        await eventually(all_wait)
        run = asyncio.create_task(retention.run(completed_todos(ScanKind.KEY), progress=watch))
        await told.wait()
        assert not run.done()
        assert finished[0].waiting == "2 connections that wait for locks"
        await holder.rollback()
        await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        report = await run
        await (first if waiters[0].done() else second).rollback()
        await asyncio.gather(*waiters)
    assert (report.deleted, report.stopped) == (490, StopReason.END)
    assert report.waited > 0


async def test_without_replicas_nothing_lags(database: Database) -> None:
    check = PostgresLoad(settings=RetentionSettings(max_replica_lag=0.001))
    async with database.engine.connect() as connection:
        assert await check.reason_to_wait(connection) is None


async def test_a_role_that_may_not_look_does_not_wait(database: Database) -> None:
    role = str(await database.value("SELECT 'kiqstart_' || md5(current_database())"))
    database.drop_after.append(f"DROP ROLE {role}")
    await database.execute(f"CREATE ROLE {role}")
    check = PostgresLoad(settings=RetentionSettings())
    async with database.engine.begin() as connection:
        await connection.exec_driver_sql(f"SET LOCAL ROLE {role}")
        assert await check.reason_to_wait(connection) is None
