"""What becomes of a long clean-up whose worker ends, dies, or loses its connection."""

from tests.deadlines import HANG
from tests.end_to_end.retention.rows import SLOW, Rows

from kiqstart.testing import ProcessFactory
from todo_service.delivery.tasks.registry import TasksRegistry

COMPLETED = 40_000


async def test_on_sigterm_a_clean_up_is_left_to_the_next_worker_which_reports_all_of_it(
    registry: TasksRegistry, worker: ProcessFactory, rows: Rows
) -> None:
    await rows.add(completed=COMPLETED)
    task = await registry.todo_cleanup.kiq()
    with worker(environment=SLOW) as process:
        await rows.wait_for_deleted(500)
        assert process.stop() == 0
    assert "is left to the next worker: stopped after " in process.log
    assert "Traceback" not in process.log
    before = await rows.deleted()
    assert (await rows.left())[0] == COMPLETED - before > 0
    assert not await task.is_ready()
    with worker():
        result = (await task.wait_result(timeout=HANG)).return_value
    report = result["report"]
    assert report is not None
    assert (result["todos_deleted"], report.deleted, report.stopped) == (COMPLETED, COMPLETED, "end")
    assert await rows.left() == (0, 100)
    [run] = await rows.runs()
    assert (run["run_id"], run["deleted"]) == (task.task_id, COMPLETED)


async def test_a_clean_up_whose_worker_was_killed_goes_on_elsewhere_by_itself(
    registry: TasksRegistry, worker: ProcessFactory, rows: Rows
) -> None:
    await rows.add(completed=COMPLETED)
    task = await registry.todo_cleanup.kiq()
    with worker(environment=SLOW) as process:
        await rows.wait_for_deleted(500)
        process.kill()
    await rows.wait_for_silence()
    with worker(environment={"RETENTION_TAKEOVER_AFTER": "1"}):
        again = await registry.todo_cleanup.kiq()
        report = (await task.wait_result(timeout=HANG)).return_value["report"]
    assert again.task_id == task.task_id
    assert report is not None
    assert (report.run_id, report.deleted) == (task.task_id, COMPLETED)
    assert await rows.left() == (0, 100)
    [run] = await rows.runs()
    assert (run["run_id"], run["deleted"]) == (task.task_id, COMPLETED)


async def test_a_clean_up_whose_connection_is_cut_in_a_batch_goes_on_and_counts_exactly(
    registry: TasksRegistry, worker: ProcessFactory, rows: Rows
) -> None:
    await rows.add(completed=COMPLETED)
    # A batch waits at the lock for long enough to be met there.
    patient = {"RETENTION_BATCH_ROWS": "1000", "RETENTION_BATCH_SECONDS": "5", "RETENTION_LOCK_TIMEOUT": "9"}
    with worker(environment=patient):
        async with rows.locked(COMPLETED // 2):
            task = await registry.todo_cleanup.kiq()
            await rows.cut_whoever_waits(times=3)
        result = (await task.wait_result(timeout=HANG)).return_value
    report = result["report"]
    assert report is not None
    assert (result["todos_deleted"], report.stopped) == (COMPLETED, "end")
    assert report.waited > 0
    assert await rows.left() == (0, 100)
    [run] = await rows.runs()
    assert run["deleted"] == COMPLETED
