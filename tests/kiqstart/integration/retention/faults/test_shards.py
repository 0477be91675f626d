"""A run that several processes share."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from tests.kiqstart.integration.retention.faults.engines import quick_settings, retention_engine
from tests.kiqstart.integration.retention.faults.run_store import RUN, wait_until_counted
from tests.kiqstart.integration.retention.faults.tables import IntEntry, expired, fill, rows_left
from tests.kiqstart.integration.retention.faults.worker import Task
from tests.service import database_settings

from kiqstart.retention.engine import RetentionEngine
from kiqstart.retention.policy import ScanKind
from kiqstart.retention.report import StopReason
from kiqstart.testing import ServiceProcess, eventually

MakeRetention = Callable[..., RetentionEngine]
StartWorker = Callable[[Task], ServiceProcess]

SLOWLY = {"pause": 0.02, "takeover_after": 1.0}


@pytest_asyncio.fixture
async def logged(tables: AsyncEngine) -> AsyncGenerator[AsyncEngine]:
    """The tables, 1,600 rows to delete and 200 to keep, with a log of who deletes which."""
    statements = (
        "CREATE TABLE deletions (id int, worker text)",
        """
        CREATE FUNCTION log_deletion() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO deletions VALUES (OLD.id, current_setting('application_name'));
            RETURN NULL;
        END $$
        """,
        "CREATE TRIGGER log AFTER DELETE ON int_entries FOR EACH ROW EXECUTE FUNCTION log_deletion()",
    )
    async with tables.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))
        await fill(connection, expired=1600, kept=200)
    yield tables
    async with tables.begin() as connection:
        await connection.execute(text("DROP TABLE deletions"))
        await connection.execute(text("DROP FUNCTION log_deletion CASCADE"))


async def deletions(pool: AsyncEngine) -> list[tuple[int, str]]:
    async with pool.connect() as connection:
        return [(row.id, row.worker) for row in await connection.execute(text("SELECT id, worker FROM deletions"))]


async def wait_until_all_work(pool: AsyncEngine, workers: set[str]) -> None:
    async def all_work() -> bool:
        async with pool.connect() as connection:
            return {*await connection.scalars(text("SELECT DISTINCT worker FROM deletions"))} >= workers

    await eventually(all_work)


@pytest.mark.parametrize("scan", list(ScanKind))
async def test_every_row_goes_once_however_many_take_part(
    logged: AsyncEngine, database_url: str, start_worker: StartWorker, make_retention: MakeRetention, scan: ScanKind
) -> None:
    policy = expired(scan=scan, cursor=(IntEntry.id,))
    async with logged.connect() as connection:
        before = await rows_left(connection)
    joiners = create_async_engine(
        database_settings(database_url).parsed_url().url,
        connect_args={"server_settings": {"application_name": "joiner"}},
    )
    asked: list[int] = []
    async with asyncio.TaskGroup() as tasks:

        async def invite(others: int) -> None:
            asked.append(others)
            for name in ("process 1", "process 2"):
                start_worker(Task(url=database_url, run_id=RUN, name=name, joins=True, scan=scan, settings=SLOWLY))
            await wait_until_all_work(logged, {"process 1", "process 2"})
            in_this_process = retention_engine(async_sessionmaker(joiners), quick_settings(**SLOWLY))
            tasks.create_task(in_this_process.join(policy, RUN))
            await wait_until_all_work(logged, {"joiner"})

        report = await make_retention(**SLOWLY).run(policy, run_id=RUN, shards=4, invite=invite)
    await joiners.dispose()

    assert asked == [3]
    assert (report.deleted, report.stopped, report.failed) == (1600, StopReason.END, 0)
    gone = await deletions(logged)
    assert Counter(key for key, _ in gone) == Counter(key for key, row in before.items() if row[0] < 100)
    async with logged.connect() as connection:
        assert await rows_left(connection) == {key: row for key, row in before.items() if row[0] >= 100}


async def test_what_a_killed_process_had_taken_is_taken_over(
    logged: AsyncEngine, database_url: str, start_worker: StartWorker, make_retention: MakeRetention
) -> None:
    async def invite(_: int) -> None:
        process = start_worker(Task(url=database_url, run_id=RUN, name="process", joins=True, settings=SLOWLY))
        await wait_until_all_work(logged, {"process"})
        process.kill()

    policy = expired(cursor=(IntEntry.id,))
    report = await make_retention(takeover_after=1.0).run(policy, run_id=RUN, shards=2, invite=invite)

    assert (report.deleted, report.stopped) == (1600, StopReason.END)
    gone = await deletions(logged)
    assert len(gone) == len({key for key, _ in gone}) == 1600
    assert 0 < sum(worker == "process" for _, worker in gone) < 800


@pytest.mark.parametrize("scan", list(ScanKind))
async def test_what_a_shared_run_has_left_is_shared_again(
    logged: AsyncEngine, make_retention: MakeRetention, scan: ScanKind
) -> None:
    policy, stop = expired(scan=scan, cursor=(IntEntry.id,)), asyncio.Event()
    first = asyncio.create_task(make_retention(pause=0.005).run(policy, run_id=RUN, shards=4, stop=stop))
    # More than the first of the four shards.
    await wait_until_counted(logged, 450)
    stop.set()
    deleted = (await first).deleted
    assert 450 <= deleted < 1600

    report = await make_retention().run(policy, run_id="another", shards=3)

    assert (report.resumed, report.deleted, report.stopped) == (True, 1600 - deleted, StopReason.END)
    async with logged.connect() as connection:
        assert len(await rows_left(connection)) == 200
