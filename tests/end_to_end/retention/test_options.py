"""What a caller of a clean-up may ask for, done by real workers."""

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.deadlines import HANG
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


async def test_a_dry_run_deletes_nothing_and_after_a_row_limit_the_next_clean_up_goes_on(
    registry: TasksRegistry, worker: ProcessFactory, rows: Rows
) -> None:
    await rows.add(completed=1200, others=300)
    await rows.add_sessions(1200, expired_days_ago=100)
    reports: list[RetentionReport | None] = []
    with worker():
        result = (await (await registry.todo_cleanup.kiq(dry_run=True)).wait_result(timeout=HANG)).return_value
        assert await rows.left() == (1200, 300)
        assert await rows.runs() == []
        for row_limit in (777, None):
            task = await registry.session_cleanup.kiq(row_limit=row_limit)
            reports.append((await task.wait_result(timeout=HANG)).return_value["report"])
            if row_limit is not None:
                assert await rows.sessions_left() == 423
                # It comes where the first call has been; the second goes on to the end, and then there.
                await rows.add_sessions(1, expired_days_ago=300)
    preview = result["preview"]
    assert preview is not None
    assert (preview.rows, preview.is_estimate, preview.table_rows) == (1200, False, 1500)
    assert (result["todos_deleted"], result["report"]) == (0, None)
    assert [report and (report.deleted, report.stopped, report.resumed) for report in reports] == [
        (777, "row limit", False),
        (424, "end", True),
    ]
    assert await rows.sessions_left() == 0


async def test_clean_ups_are_shared_in_shards_tell_their_progress_and_end_with_their_time_budget(
    registry: TasksRegistry, worker: ProcessFactory, rows: Rows, deletions: AsyncEngine
) -> None:
    with worker(environment=SLOW) as one, worker(environment=SLOW) as other:

        async def both_take_tasks() -> bool:
            await registry.ping.kiq()
            return all("Task ping succeeded" in process.log for process in (one, other))

        await eventually(both_take_tasks)
        await rows.add(completed=8_000)
        await _clean_up_in_shards(registry, rows, deletions)

        def executions() -> list[int]:
            return [process.log.count("Task todo.cleanup succeeded") for process in (one, other)]

        async def all_have_ended() -> bool:
            # The call, and one message for each further shard.
            return sum(executions()) == 4

        await eventually(all_have_ended)
        assert min(executions()) > 0

        await rows.add(completed=6_000)
        _check_progress(await _seen_progress(registry))
        assert await rows.left() == (0, 200)

        await rows.add(completed=50_000)
        result = (await (await registry.todo_cleanup.kiq(time_budget=2)).wait_result(timeout=HANG)).return_value
    assert result["report"] is not None
    assert result["report"].stopped == "time budget"
    assert 0 < result["todos_deleted"] < 50_000
    assert (await rows.left())[0] == 50_000 - result["todos_deleted"]


async def _clean_up_in_shards(registry: TasksRegistry, rows: Rows, deletions: AsyncEngine) -> None:
    task = await registry.todo_cleanup.kiq(shards=4)
    result = (await task.wait_result(timeout=HANG)).return_value
    report = result["report"]
    assert report is not None
    assert (result["todos_deleted"], report.stopped, report.run_id) == (8_000, "end", task.task_id)
    assert await rows.left() == (0, 100)
    async with deletions.connect() as connection:
        found = await connection.execute(text("SELECT count(*), count(DISTINCT id) FROM deletions"))
        assert tuple(found.one()) == (8_000, 8_000)
    [run] = await rows.runs()
    assert (run["shards"], run["deleted"]) == (4, 8_000)


async def _seen_progress(registry: TasksRegistry) -> list[CleanupProgress]:
    seen: list[CleanupProgress] = []
    task = await registry.todo_cleanup.kiq()

    async def is_done() -> bool:
        progress = await task.get_progress()
        if progress is not None and progress.meta is not None and progress.meta not in seen:
            seen.append(progress.meta)
        return await task.is_ready()

    await eventually(is_done)
    assert (await task.wait_result()).return_value["todos_deleted"] == 6_000
    return seen


def _check_progress(seen: list[CleanupProgress]) -> None:
    """Check rows, rate and the time that is left, told a tenth of a second apart."""
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
