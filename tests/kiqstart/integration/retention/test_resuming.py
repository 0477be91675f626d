import asyncio

import pytest
from tests.deadlines import HANG
from tests.kiqstart.integration.retention.database import Database
from tests.kiqstart.integration.retention.policies import BOTH_SCANS, completed_todos
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.retention.errors import UnreadableRunError
from kiqstart.retention.policy import RetentionPolicy, ScanKind
from kiqstart.retention.progress import RetentionProgress
from kiqstart.retention.report import StopReason
from kiqstart.retention.run_options import RunLimits
from kiqstart.retention.run_store import RunStore
from kiqstart.testing import eventually
from todo_service.core.todo.models import Todo

pytestmark = pytest.mark.usefixtures("completed")

IN_TRANSACTION = (
    "pg_stat_activity WHERE datname = current_database() AND xact_start < now() AND pid <> pg_backend_pid() "
    "AND backend_type = 'client backend'"
)


@BOTH_SCANS
async def test_a_run_cancelled_between_batches_goes_on_and_counts_all(
    make_retention: EngineFactory, database: Database, scan: ScanKind
) -> None:
    reported, seen = asyncio.Event(), list[RetentionProgress]()

    async def wait_for_ever(_: RetentionProgress) -> None:
        reported.set()
        await asyncio.Event().wait()

    async def watch(progress: RetentionProgress) -> None:
        seen.append(progress)

    retention = make_retention(batch_rows=100)
    run = asyncio.create_task(retention.run(completed_todos(scan), run_id="one", progress=wait_for_ever))
    await reported.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    gone = 500 - await database.count("todos WHERE is_completed")
    assert 0 < gone <= 100
    assert await database.count(IN_TRANSACTION) == 0

    report = await retention.run(completed_todos(scan), run_id="one", progress=watch)
    assert (report.deleted, report.stopped) == (500, StopReason.END)
    assert report.batches > 4
    assert gone < seen[0].deleted < 500
    # The rate is that of this process.
    assert seen[0].rate == pytest.approx((seen[0].deleted - gone) / seen[0].seconds)


@BOTH_SCANS
async def test_a_cancelled_run_finishes_its_batch_first(
    make_retention: EngineFactory, database: Database, scan: ScanKind
) -> None:
    retention = make_retention(batch_rows=100_000, lock_timeout=10, batch_seconds=10)
    async with database.engine.connect() as other:
        await other.exec_driver_sql("SELECT 1 FROM todos WHERE title = 'todo 800' FOR UPDATE")
        run = asyncio.create_task(retention.run(completed_todos(scan), run_id="one"))

        async def blocked() -> bool:
            return await database.waiting_for_locks() == 1

        await eventually(blocked)
        run.cancel()
        assert await database.count("todos WHERE is_completed") == 500
        await other.rollback()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert await database.count("todos WHERE is_completed") == 0
    assert await database.count(IN_TRANSACTION) == 0
    assert (await retention.run(completed_todos(scan), run_id="one")).deleted == 500


async def test_a_second_cancellation_cuts_the_batch_off(make_retention: EngineFactory, database: Database) -> None:
    retention = make_retention(lock_timeout=10, batch_seconds=10)
    async with database.engine.connect() as other:
        await other.exec_driver_sql("SELECT 1 FROM todos WHERE title = 'todo 800' FOR UPDATE")
        run = asyncio.create_task(retention.run(completed_todos(ScanKind.KEY), run_id="one"))

        async def blocked() -> bool:
            return await database.waiting_for_locks() == 1

        await eventually(blocked)
        run.cancel()
        await asyncio.sleep(0)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(run, HANG)

        async def unblocked() -> bool:
            return await database.waiting_for_locks() == 0

        await eventually(unblocked)
    assert await database.count("todos WHERE is_completed") == 500
    assert (await retention.run(completed_todos(ScanKind.KEY), run_id="one")).deleted == 500


@BOTH_SCANS
async def test_a_run_stops_when_told_to(make_retention: EngineFactory, database: Database, scan: ScanKind) -> None:
    stop = asyncio.Event()

    async def tell(_: RetentionProgress) -> None:
        stop.set()

    retention = make_retention(batch_rows=100)
    report = await retention.run(completed_todos(scan), run_id="one", stop=stop, progress=tell)
    left = await database.count("todos WHERE is_completed")
    assert (report.stopped, report.batches, report.deleted) == (StopReason.STOPPED, 1, 500 - left)
    assert 0 < report.deleted <= 100
    # A run with the same id goes on, and so would one with another.
    report = await retention.run(completed_todos(scan), run_id="one")
    assert (report.stopped, report.deleted, report.resumed) == (StopReason.END, 500, False)


@BOTH_SCANS
async def test_another_run_goes_on_with_what_a_stopped_one_left(
    make_retention: EngineFactory, database: Database, scan: ScanKind
) -> None:
    stop = asyncio.Event()

    async def tell(_: RetentionProgress) -> None:
        stop.set()

    retention = make_retention(batch_rows=100)
    first = await retention.run(completed_todos(scan), run_id="one", stop=stop, progress=tell)
    second = await retention.run(completed_todos(scan), run_id="two")
    assert (second.resumed, second.stopped) == (True, StopReason.END)
    assert "one" in second.reason
    assert first.deleted + second.deleted == 500
    assert await database.count("todos WHERE is_completed") == 0
    # The first has nothing left to do, and says what it did.
    again = await retention.run(completed_todos(scan), run_id="one")
    assert again.deleted == first.deleted


async def test_a_finished_run_is_not_run_again(make_retention: EngineFactory, database: Database) -> None:
    retention = make_retention()
    first = await retention.run(completed_todos(None), run_id="one")
    await database.execute("UPDATE todos SET is_completed = true, completed_at = now() WHERE title = 'todo 1'")
    assert await retention.run(completed_todos(None), run_id="one") == first
    assert await database.count("todos WHERE is_completed") == 1
    assert (await retention.run(completed_todos(None), run_id="two")).deleted == 1


async def test_policies_of_one_table_do_not_go_on_with_each_other(
    make_retention: EngineFactory, database: Database
) -> None:
    others = RetentionPolicy(name="others", model=Todo, predicate=~Todo.is_completed)
    limited = await make_retention().run(completed_todos(ScanKind.PAGES), limits=RunLimits(rows=50))
    assert limited.stopped is StopReason.ROW_LIMIT
    report = await make_retention().run(others)
    assert (report.deleted, report.resumed) == (500, False)
    assert await database.count("todos") == 450


@pytest.mark.usefixtures("every_batch_is_reported")
@pytest.mark.parametrize("statement", ["VACUUM FULL todos", "CLUSTER todos USING pk_todos"])
async def test_a_page_scan_begins_again_with_a_table_that_was_rewritten(
    make_retention: EngineFactory, database: Database, statement: str
) -> None:
    # The rows that the interrupted run has not met are moved to the front of the heap by rewriting it.
    stop = asyncio.Event()

    async def tell(progress: RetentionProgress) -> None:
        if progress.deleted >= 300:
            stop.set()

    retention = make_retention(batch_rows=50)
    first = await retention.run(completed_todos(ScanKind.PAGES), run_id="one", stop=stop, progress=tell)
    assert 0 < first.deleted < 500
    await database.alone(statement)
    report = await retention.run(completed_todos(ScanKind.PAGES), run_id="one")
    assert (report.deleted, report.stopped) == (500, StopReason.END)
    assert await database.count("todos WHERE is_completed") == 0


async def test_another_run_begins_again_with_a_table_that_was_rewritten(
    make_retention: EngineFactory, database: Database
) -> None:
    retention = make_retention()
    first = await retention.run(completed_todos(ScanKind.PAGES), limits=RunLimits(rows=300))
    assert first.deleted == 300
    await database.alone("VACUUM FULL todos")
    second = await retention.run(completed_todos(ScanKind.PAGES))
    assert (second.deleted, second.resumed) == (200, False)
    assert await database.count("todos WHERE is_completed") == 0


async def test_batches_that_a_crashed_server_has_lost_are_done_again(
    make_retention: EngineFactory, database: Database
) -> None:
    kept = await database.rows(Todo, ~Todo.is_completed)
    database.drop_after.extend(["DROP TABLE IF EXISTS todos_then", "DROP TABLE IF EXISTS runs_then"])
    calls = 0

    async def lose_batches(_: RetentionProgress) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            await database.execute("CREATE TABLE todos_then AS TABLE todos")
            await database.execute("CREATE TABLE runs_then AS TABLE retention_runs")
        elif calls == 3:
            # What a server comes back with whose commits had not waited for its disk.
            assert await database.count("todos") < await database.count("todos_then")
            await database.execute(
                "INSERT INTO todos OVERRIDING SYSTEM VALUE SELECT * FROM todos_then ON CONFLICT DO NOTHING"
            )
            await database.execute("UPDATE retention_runs SET state = runs_then.state FROM runs_then")

    retention = make_retention(batch_rows=20, pause=0.03)
    report = await retention.run(completed_todos(ScanKind.KEY), progress=lose_batches)
    assert calls > 3
    assert (report.deleted, report.stopped) == (500, StopReason.END)
    assert await database.count("todos WHERE is_completed") == 0
    assert await database.rows(Todo) == kept


@pytest.mark.parametrize(
    ("column", "value"), [("walk", "'sideways'"), ("stopped", "'odd'"), ("state", "'{\"todo\": 5}'::jsonb")]
)
async def test_a_run_of_which_something_else_is_kept_ends_with_what_to_do(
    make_retention: EngineFactory, database: Database, column: str, value: str
) -> None:
    retention = make_retention()
    await retention.run(completed_todos(None), run_id="one", limits=RunLimits(rows=100))
    values = {"stopped": "NULL", column: value}
    changes = ", ".join(f"{name} = {to}" for name, to in values.items())
    await database.execute(f"UPDATE retention_runs SET {changes}")  # noqa: S608 - the test's own
    with pytest.raises(
        UnreadableRunError, match=r"^what retention_runs has of run 'one' cannot be read \([^\n]*delete"
    ):
        await retention.run(completed_todos(None), run_id="one")
    await database.execute("DELETE FROM retention_runs")
    assert (await retention.run(completed_todos(None), run_id="one")).stopped is StopReason.END


async def test_what_was_written_under_a_run_while_the_server_was_away_is_told(
    make_retention: EngineFactory, database: Database
) -> None:
    await make_retention().run(completed_todos(None), run_id="one")
    run_store = RunStore.of("todos", "one", 60)
    await database.execute(
        f"UPDATE retention_runs SET owner = '{run_store.owner}', state = '{{\"todo\": [], \"covers\": 1e5000}}'"  # noqa: S608 - the test's own
    )
    async with database.engine.begin() as connection:
        with pytest.raises(UnreadableRunError, match=r"^what retention_runs has of run 'one' cannot be read"):
            await run_store.load(connection, 0)
