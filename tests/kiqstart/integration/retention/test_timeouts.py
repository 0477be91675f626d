import asyncio

import pytest
from tests.kiqstart.integration.retention.database import Database
from tests.kiqstart.integration.retention.policies import BOTH_SCANS, completed_todos
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.retention.policy import ScanKind
from kiqstart.retention.report import StopReason
from kiqstart.retention.run_options import RunLimits
from kiqstart.testing import eventually
from todo_service.core.todo.models import Todo

pytestmark = pytest.mark.usefixtures("completed")


@BOTH_SCANS
async def test_slow_rows_make_batches_smaller_instead_of_failing_the_run(
    make_retention: EngineFactory, database: Database, scan: ScanKind
) -> None:
    # All of them would take half a second, and a batch may take a tenth.
    await database.before_delete("todos", "IF OLD.id % 10 = 0 THEN PERFORM pg_sleep(0.005); END IF;")
    report = await make_retention(batch_seconds=0.05).run(completed_todos(scan))
    assert (report.deleted, report.failed, report.skipped, report.stopped) == (500, 0, 0, StopReason.END)
    assert report.batches >= 5
    assert await database.count("todos") == 500


@BOTH_SCANS
async def test_a_row_that_always_takes_too_long_costs_only_itself(
    make_retention: EngineFactory, database: Database, scan: ScanKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kiqstart.retention.pace._LONGEST_TIMEOUT", 0.1)
    await database.before_delete("todos", "IF OLD.title = 'todo 500' THEN PERFORM pg_sleep(30); END IF;")
    report = await make_retention(batch_seconds=0.05, batch_rows=16).run(completed_todos(scan))
    assert (report.deleted, report.failed, report.skipped, report.stopped) == (499, 1, 0, StopReason.END)
    (failure,) = report.errors
    assert failure.key["id"] == await database.value("SELECT id FROM todos WHERE title = 'todo 500'")
    assert failure.error == "canceling statement due to statement timeout"
    assert await database.count("todos WHERE is_completed") == 1


@BOTH_SCANS
async def test_a_batch_that_somebody_cancels_is_done_again(
    make_retention: EngineFactory, database: Database, scan: ScanKind
) -> None:
    kept = await database.rows(Todo, ~Todo.is_completed)
    async with database.engine.connect() as other:
        await other.exec_driver_sql("SELECT 1 FROM todos WHERE id = 2 FOR UPDATE")
        retention = make_retention(batch_seconds=10, lock_timeout=10)
        run = asyncio.create_task(retention.run(completed_todos(scan)))

        async def cancelled() -> bool:
            return bool(
                await database.count(
                    "(SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND wait_event_type = 'Lock') _"
                )
            )

        await eventually(cancelled)
        await other.rollback()
    report = await run
    assert (report.deleted, report.failed, report.skipped) == (500, 0, 0)
    assert await database.rows(Todo) == kept


@BOTH_SCANS
async def test_batches_follow_the_time_that_they_take(
    make_retention: EngineFactory, database: Database, scan: ScanKind
) -> None:
    # Half a second in all, and 20 ms a batch: twenty rows each, were it not for the floor of a hundred.
    await database.before_delete("todos", "IF OLD.id % 10 = 0 THEN PERFORM pg_sleep(0.005); END IF;")
    slow = await make_retention(batch_seconds=0.02).run(completed_todos(scan), limits=RunLimits(rows=250))
    quick = await make_retention(batch_seconds=5).run(completed_todos(scan))
    assert slow.batches >= 3
    assert slow.deleted == quick.deleted == 250
    assert quick.batches <= 2
