import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.deadlines import HANG
from tests.kiqstart.integration.retention.conftest import Clock
from tests.kiqstart.integration.retention.database import Database
from tests.kiqstart.integration.retention.policies import BOTH_SCANS, completed_todos
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.retention.policy import ScanKind
from kiqstart.retention.progress import RetentionProgress
from kiqstart.retention.report import StopReason
from kiqstart.retention.run_options import RunLimits
from kiqstart.testing import eventually
from todo_service.core.todo.models import Todo

pytestmark = pytest.mark.usefixtures("completed")

ALL_SIZES = pytest.mark.parametrize(
    ("scan", "batch_rows"),
    [(ScanKind.KEY, 60), (ScanKind.KEY, 100_000), (ScanKind.PAGES, 50), (ScanKind.PAGES, 100_000)],
)
SIZES = pytest.mark.parametrize(("scan", "batch_rows"), [(ScanKind.KEY, 60), (ScanKind.PAGES, 100_000)])
# Two beside each other on one page, two on others.
FOUR = "title IN ('todo 2', 'todo 4', 'todo 500', 'todo 1000')"


@asynccontextmanager
async def locked(database: Database, statement: str) -> AsyncGenerator[AsyncConnection]:
    """Hold the locks of a statement until the connection's transaction ends."""
    async with database.engine.connect() as connection:
        await connection.exec_driver_sql(statement)
        yield connection


def rows_locked(where: str) -> str:
    return f"SELECT 1 FROM todos WHERE {where} FOR NO KEY UPDATE"  # noqa: S608 - the test's own


async def until_only(database: Database, completed: int) -> None:
    """Wait until so many completed todos are left."""

    async def is_so() -> bool:
        return await database.count("todos WHERE is_completed") == completed

    await eventually(is_so)


@ALL_SIZES
async def test_locked_rows_are_taken_in_the_same_run_once_they_are_free(
    make_retention: EngineFactory, database: Database, scan: ScanKind, batch_rows: int
) -> None:
    kept = await database.rows(Todo, ~Todo.is_completed)
    async with locked(database, rows_locked(FOUR)) as other:
        run = asyncio.create_task(
            make_retention(batch_rows=batch_rows, lock_timeout=0.01, locked_wait=60).run(completed_todos(scan))
        )
        await until_only(database, 4)
        await other.rollback()
        report = await run
    assert (report.deleted, report.skipped, report.failed, report.stopped) == (500, 0, 0, StopReason.END)
    assert await database.rows(Todo) == kept


@SIZES
async def test_rows_that_stay_locked_are_reported_and_left_to_the_next_run(
    make_retention: EngineFactory, database: Database, scan: ScanKind, batch_rows: int
) -> None:
    retention = make_retention(batch_rows=batch_rows, lock_timeout=0.01, locked_wait=0.1)
    async with locked(database, rows_locked(FOUR)):
        report = await retention.run(completed_todos(scan))
        assert (report.deleted, report.skipped, report.failed, report.stopped) == (496, 4, 0, StopReason.END)
        assert await database.count(f"todos WHERE {FOUR}") == await database.count("todos WHERE is_completed") == 4
    again = await retention.run(completed_todos(scan))
    assert (again.deleted, again.skipped) == (4, 0)


@SIZES
async def test_many_locked_rows_cost_only_themselves(
    make_retention: EngineFactory, database: Database, scan: ScanKind, batch_rows: int
) -> None:
    retention = make_retention(batch_rows=batch_rows, lock_timeout=0.01, locked_wait=0)
    async with locked(database, rows_locked("id % 3 = 0")):
        report = await retention.run(completed_todos(scan))
        assert (report.deleted, report.skipped) == (334, 166)
        assert await database.count("todos WHERE is_completed AND id % 3 = 0") == 166
    assert await database.count("todos WHERE is_completed") == 166


async def test_more_locked_rows_than_a_run_remembers_are_counted(
    make_retention: EngineFactory, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kiqstart.retention.state._MOST_LOCKED", 2)
    database.drop_after.append("DROP TABLE notes")
    await database.execute(
        "CREATE TABLE notes (todo_id bigint REFERENCES todos)",
        "INSERT INTO notes SELECT generate_series(480, 540, 4)",
    )
    async with locked(database, rows_locked("id IN (2, 300) OR id BETWEEN 480 AND 540 AND id % 4 = 2")):
        report = await make_retention(batch_rows=20, lock_timeout=0.01, locked_wait=0).run(
            completed_todos(ScanKind.KEY)
        )
    assert (report.deleted, report.skipped, report.failed) == (467, 17, 16)


@SIZES
@pytest.mark.parametrize("is_freed", [True, False])
async def test_locked_and_undeletable_rows_side_by_side_are_counted_once(
    make_retention: EngineFactory, database: Database, scan: ScanKind, batch_rows: int, is_freed: bool
) -> None:
    database.drop_after.append("DROP TABLE notes")
    await database.execute(
        "CREATE TABLE notes (todo_id bigint REFERENCES todos)",
        "INSERT INTO notes SELECT id FROM todos WHERE title IN ('todo 6', 'todo 502', 'todo 900')",
    )
    retention = make_retention(batch_rows=batch_rows, lock_timeout=0.01, locked_wait=60 if is_freed else 0.1)
    async with locked(database, rows_locked(FOUR)) as other:
        run = asyncio.create_task(retention.run(completed_todos(scan)))
        await until_only(database, 7)
        if is_freed:
            await other.rollback()
        report = await run
    assert (report.deleted, report.skipped) == ((497, 0) if is_freed else (493, 4))
    assert (report.failed, [one.rows for one in report.errors]) == (3, [3])
    assert await database.count("todos WHERE is_completed") == (3 if is_freed else 7)


@BOTH_SCANS
async def test_no_batch_waits_for_a_lock_for_longer_than_the_timeout(
    make_retention: EngineFactory, database: Database, scan: ScanKind
) -> None:
    retention = make_retention(batch_rows=50, batch_seconds=10, lock_timeout=0.02, locked_wait=0)
    async with locked(database, rows_locked("id % 40 = 0")):
        report = await asyncio.wait_for(retention.run(completed_todos(scan)), HANG)
    assert (report.deleted, report.skipped) == (475, 25)


@BOTH_SCANS
@pytest.mark.parametrize("rows", [3, 100])
async def test_a_row_limit_is_exact_though_rows_are_locked(
    make_retention: EngineFactory, database: Database, scan: ScanKind, rows: int
) -> None:
    retention = make_retention(batch_rows=100, locked_wait=0)
    async with locked(database, rows_locked("id % 4 = 0")):
        report = await retention.run(completed_todos(scan), limits=RunLimits(rows=rows))
        assert (report.deleted, report.stopped) == (rows, StopReason.ROW_LIMIT)
    assert await database.count("todos WHERE is_completed") == 500 - rows
    rest = await retention.run(completed_todos(scan))
    assert (rest.deleted, rest.skipped, rest.resumed) == (500 - rows, 0, True)


@BOTH_SCANS
@pytest.mark.usefixtures("every_batch_is_reported")
async def test_the_next_run_goes_on_with_locked_rows_that_time_did_not_suffice_for(
    make_retention: EngineFactory, database: Database, clock: Clock, scan: ScanKind
) -> None:
    async def watch(progress: RetentionProgress) -> None:
        if progress.deleted == 496:
            clock.ahead = 1000

    async with locked(database, rows_locked(FOUR)):
        report = await make_retention(locked_wait=3000).run(
            completed_todos(scan), limits=RunLimits(seconds=1000), progress=watch
        )
        assert (report.deleted, report.stopped) == (496, StopReason.TIME_BUDGET)
    rest = await make_retention().run(completed_todos(scan))
    assert (rest.deleted, rest.resumed) == (4, True)


@BOTH_SCANS
async def test_a_row_that_becomes_live_while_it_is_locked_is_kept(
    make_retention: EngineFactory, database: Database, scan: ScanKind
) -> None:
    update = f"UPDATE todos SET is_completed = false, completed_at = NULL WHERE {FOUR}"  # noqa: S608 - the test's own
    async with locked(database, update) as other:
        run = asyncio.create_task(make_retention(locked_wait=60).run(completed_todos(scan)))
        await until_only(database, 4)
        await other.commit()
        report = await run
    assert (report.deleted, report.skipped, report.failed) == (496, 0, 0)
    assert await database.count(f"todos WHERE {FOUR}") == 4


@BOTH_SCANS
@pytest.mark.parametrize("mode", ["SHARE", "ACCESS EXCLUSIVE"])
@pytest.mark.usefixtures("every_batch_is_reported")
async def test_a_lock_on_the_table_is_waited_for(
    make_retention: EngineFactory, database: Database, scan: ScanKind, mode: str
) -> None:
    retention, met, blocked = make_retention(batch_rows=200, lock_timeout=0.005), 0, asyncio.Event()
    said = list[str | None]()
    async with database.engine.connect() as other:

        async def lock(progress: RetentionProgress) -> None:
            said.append(progress.waiting)
            if not blocked.is_set():
                await other.exec_driver_sql(f"LOCK TABLE todos IN {mode} MODE")
                blocked.set()

        async def met_often() -> bool:
            nonlocal met
            met += await database.waiting_for_locks()
            return met >= 8 or said[-1] is not None or run.done()

        run = asyncio.create_task(retention.run(completed_todos(scan), progress=lock))
        await blocked.wait()
        await eventually(met_often)
        assert not run.done()
        await other.rollback()
        report = await run
    assert (report.deleted, report.skipped, report.failed, report.stopped) == (500, 0, 0, StopReason.END)
    # With a lock that lets others read, it passes over one row after the other.
    assert (report.waited > 0) is ("a lock on the whole table" in said) is (mode == "ACCESS EXCLUSIVE")


@BOTH_SCANS
async def test_a_run_that_waits_for_the_table_can_be_stopped(
    make_retention: EngineFactory, database: Database, scan: ScanKind
) -> None:
    stop, retention = asyncio.Event(), make_retention()
    await retention.run(completed_todos(scan), run_id="one", limits=RunLimits(rows=10))
    async with locked(database, "LOCK TABLE todos IN SHARE MODE"):
        run = asyncio.create_task(retention.run(completed_todos(scan), run_id="two", stop=stop))

        async def blocked() -> bool:
            return await database.waiting_for_locks() == 1

        await eventually(blocked)
        stop.set()
        report = await run
    assert (report.stopped, report.deleted, report.resumed) == (StopReason.STOPPED, 0, True)
    assert (await retention.run(completed_todos(scan), run_id="two")).deleted == 490
