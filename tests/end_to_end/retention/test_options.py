"""What a caller of a clean-up may ask for, done by real workers."""

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.end_to_end.retention.rows import SLOW, Rows

from kiqstart import CleanupProgress
from kiqstart.retention import RetentionReport
from kiqstart.testing import ProcessFactory, eventually
from todo_service.delivery.tasks.registry import TasksRegistry


@pytest_asyncio.fixture
async def deletions(engine: AsyncEngine) -> AsyncGenerator[AsyncEngine]:
    """Lets the table `deletions` have the id of each todo that is deleted, by whomever."""
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE deletions (id bigint NOT NULL)"))
        await connection.execute(
            text(
                "CREATE FUNCTION note_deletion() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS "
                "$$ BEGIN INSERT INTO deletions VALUES (OLD.id); RETURN NULL; END $$"
            )
        )
        await connection.execute(
            text("CREATE TRIGGER note_deletion AFTER DELETE ON todos FOR EACH ROW EXECUTE FUNCTION note_deletion()")
        )
    yield engine
    async with engine.begin() as connection:
        await connection.execute(text("DROP TABLE deletions"))
        await connection.execute(text("DROP FUNCTION note_deletion() CASCADE"))


async def test_a_dry_run_tells_the_count_and_deletes_nothing(
    registry: TasksRegistry, worker: ProcessFactory, rows: Rows
) -> None:
    await rows.add(completed=1200, others=300)
    with worker():
        result = (await (await registry.todo_cleanup.kiq(dry_run=True)).wait_result(timeout=20)).return_value
    preview = result["preview"]
    assert preview is not None
    assert (preview.rows, preview.is_estimate, preview.table_rows) == (1200, False, 1500)
    assert (result["todos_deleted"], result["report"]) == (0, None)
    assert await rows.left() == (1200, 300)
    assert await rows.runs() == []


async def test_after_a_row_limit_the_next_clean_up_goes_on_where_the_last_one_stopped(
    registry: TasksRegistry, worker: ProcessFactory, rows: Rows
) -> None:
    await rows.add(completed=0)
    await rows.add_sessions(1200, expired_days_ago=100)
    reports: list[RetentionReport | None] = []
    with worker():
        for row_limit in (777, None):
            task = await registry.session_cleanup.kiq(row_limit=row_limit)
            reports.append((await task.wait_result(timeout=20)).return_value["report"])
            if row_limit is not None:
                assert await rows.sessions_left() == 423
                # It comes where the first call has been; the second goes on to the end, and then there.
                await rows.add_sessions(1, expired_days_ago=300)
    assert [report and (report.deleted, report.stopped, report.resumed) for report in reports] == [
        (777, "row limit", False),
        (424, "end", True),
    ]
    assert await rows.sessions_left() == 0


async def test_a_time_budget_ends_a_clean_up_early(registry: TasksRegistry, worker: ProcessFactory, rows: Rows) -> None:
    await rows.add(completed=50_000)
    with worker(environment=SLOW):
        result = (await (await registry.todo_cleanup.kiq(time_budget=2)).wait_result(timeout=20)).return_value
    assert result["report"] is not None
    assert result["report"].stopped == "time budget"
    assert 0 < result["todos_deleted"] < 50_000
    assert (await rows.left())[0] == 50_000 - result["todos_deleted"]


async def test_a_clean_up_in_shards_is_shared_by_the_workers_and_reported_once(
    registry: TasksRegistry, worker: ProcessFactory, rows: Rows, deletions: AsyncEngine
) -> None:
    await rows.add(completed=8_000)
    with worker(environment=SLOW) as one, worker(environment=SLOW) as other:

        async def both_take_tasks() -> bool:
            await registry.ping.kiq()
            return all("Executing task ping" in process.log for process in (one, other))

        await eventually(both_take_tasks)
        task = await registry.todo_cleanup.kiq(shards=4)
        result = (await task.wait_result(timeout=30)).return_value
        executions = [process.log.count("Executing task todo.cleanup") for process in (one, other)]
    report = result["report"]
    assert report is not None
    assert (result["todos_deleted"], report.stopped, report.run_id) == (8_000, "end", task.task_id)
    assert await rows.left() == (0, 100)
    async with deletions.connect() as connection:
        found = await connection.execute(text("SELECT count(*), count(DISTINCT id) FROM deletions"))
        assert tuple(found.one()) == (8_000, 8_000)
    [run] = await rows.runs()
    assert (run["pieces"], run["deleted"]) == (4, 8_000)
    # The call, and one message for each further shard.
    assert sum(executions) == 4
    assert min(executions) > 0


async def test_progress_tells_rows_rate_and_the_time_that_is_left(
    registry: TasksRegistry, worker: ProcessFactory, rows: Rows
) -> None:
    await rows.add(completed=6_000)
    seen: list[CleanupProgress] = []
    with worker(environment=SLOW):
        task = await registry.todo_cleanup.kiq()

        async def is_done() -> bool:
            progress = await task.get_progress()
            if progress is not None and progress.meta is not None and progress.meta not in seen:
                seen.append(progress.meta)
            return await task.is_ready()

        await eventually(is_done)
        assert (await task.wait_result()).return_value["todos_deleted"] == 6_000
    # A tenth of a second apart.
    assert len(seen) > 3
    for name in ("deleted", "fraction", "seconds"):
        values = [one[name] for one in seen]
        assert values == sorted(values)
    middle = seen[len(seen) // 2]
    assert 0 < middle["deleted"] < 6_000
    # PostgreSQL's estimate.
    assert middle["total"] == pytest.approx(6_000, rel=0.1)
    assert middle["rate"] > 0
    assert middle["eta"] == pytest.approx((middle["total"] - middle["deleted"]) / middle["rate"])
    assert middle["waiting"] is None
    assert (seen[-1]["deleted"], seen[-1]["fraction"], seen[-1]["eta"]) == (6_000, 1.0, 0.0)
