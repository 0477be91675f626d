import asyncio

import pytest
from sqlalchemy import func
from tests.deadlines import HANG
from tests.kiqstart.integration.retention.database import Database
from tests.kiqstart.integration.retention.policies import BOTH_SCANS, SCANS, completed_todos
from tests.kiqstart.integration.retention.shapes import SHAPES, Shape

from kiqstart.retention.engine import RetentionEngine
from kiqstart.retention.models import RetentionRun
from kiqstart.retention.policy import RetentionPolicy, ScanKind
from kiqstart.retention.report import StopReason
from kiqstart.retention.run_options import RunLimits
from todo_service.core.todo.models import Todo


@pytest.mark.parametrize("shape", [pytest.param(shape, id=name) for name, shape in SHAPES.items()])
async def test_previews_and_dry_runs_tell_what_would_go_and_delete_nothing(
    retention: RetentionEngine, database: Database, shape: Shape
) -> None:
    await database.fill(shape)
    before = await database.rows(shape.model)
    preview = await retention.preview(shape.policy(None))
    assert (preview.rows, preview.is_estimate) == (shape.doomed, False)
    assert await database.rows(shape.model) == before
    for scan in SCANS if shape.cursor else [ScanKind.PAGES]:
        dry_run = await retention.dry_run(shape.policy(scan), sample=3)
        assert await database.rows(shape.model) == before
        assert dry_run.sample is not None
        assert len(dry_run.sample) == 3
        assert dry_run.plan[0].startswith("Delete on ")
        assert dry_run.statement is not None
        # The first batch of so small a table is all of it.
        async with database.engine.connect() as connection:
            assert (await connection.exec_driver_sql(dry_run.statement)).rowcount == shape.doomed
            await connection.rollback()
    report = await retention.run(shape.policy(None))
    assert (report.deleted, report.scan, report.reason) == (preview.rows, preview.scan, preview.reason)


@pytest.mark.usefixtures("completed")
@BOTH_SCANS
async def test_a_count_that_would_take_too_long_is_estimated(
    retention: RetentionEngine, database: Database, scan: ScanKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kiqstart.retention.preview._SECONDS_TO_COUNT", 0.05)
    slow = (func.pg_sleep(0.001).is_not(None)) & Todo.is_completed
    policy = RetentionPolicy(name="slow", model=Todo, predicate=slow, cursor=(Todo.id,), scan=scan)
    preview = await retention.preview(policy)
    assert preview.is_estimate
    assert preview.table_rows == pytest.approx(1000, rel=0.1)
    assert 0 < preview.rows <= 1000
    assert await database.count("todos") == 1000


@pytest.mark.usefixtures("completed")
async def test_a_preview_does_not_wait_for_others_writes(retention: RetentionEngine, database: Database) -> None:
    async with database.engine.connect() as other:
        await other.exec_driver_sql("UPDATE todos SET title = title || '!'")
        preview = await asyncio.wait_for(retention.preview(completed_todos(None)), HANG)
    assert (preview.policy, preview.rows, preview.is_estimate) == ("todos", 500, False)


@pytest.mark.usefixtures("completed")
async def test_a_preview_leaves_no_trace_in_the_run_store(retention: RetentionEngine, database: Database) -> None:
    policy = completed_todos(ScanKind.PAGES)
    limited = await retention.run(policy, limits=RunLimits(rows=100))
    runs = await database.rows(RetentionRun)
    assert (await retention.preview(policy)).rows == 400
    assert await database.rows(RetentionRun) == runs
    rest = await retention.run(policy)
    assert (limited.stopped, rest.deleted, rest.resumed) == (StopReason.ROW_LIMIT, 400, True)
    assert await database.rows(Todo, Todo.is_completed.is_(True)) == set()


async def test_a_dry_run_shows_no_more_of_a_row_than_tells_it_apart(
    retention: RetentionEngine, database: Database
) -> None:
    await database.fill(SHAPES["integer key"])
    dry_run = await retention.dry_run(SHAPES["integer key"].policy(None), sample=1)
    assert dry_run.sample is not None
    assert [set(row) for row in dry_run.sample] == [{"id", "expires_at"}]


async def test_a_dry_run_of_an_empty_table_says_so(retention: RetentionEngine) -> None:
    dry_run = await retention.dry_run(completed_todos(ScanKind.KEY))
    assert (dry_run.statement, dry_run.plan, dry_run.sample) == (None, (), ())
