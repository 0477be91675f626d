from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from taskiq import TaskiqMessage

from kiqstart.testing import ProcessFactory, eventually
from kiqstart.testing.processes import taskiq_command

QueuedTasks = Callable[[], Awaitable[list[TaskiqMessage]]]


@pytest.fixture
def ticking(taskiq_scheduler: ProcessFactory) -> ProcessFactory:
    """Schedulers of a table with a tick each second, and a daily one."""
    return replace(taskiq_scheduler, command=taskiq_command("scheduler", "tests.end_to_end.apps.ticking:scheduler"))


async def wait_for_ticks(queued_tasks: QueuedTasks, count: int) -> None:
    async def enough() -> bool:
        return len(await queued_tasks()) >= count

    await eventually(enough)


async def test_each_tick_is_sent_once_by_any_number_of_schedulers_and_none_early(
    ticking: ProcessFactory, queued_tasks: QueuedTasks
) -> None:
    with ticking(), ticking():
        await wait_for_ticks(queued_tasks, 3)
    with ticking():  # a restart
        await wait_for_ticks(queued_tasks, len(await queued_tasks()) + 2)
    sent = [task.labels["schedule_id"] for task in await queued_tasks()]
    assert len(sent) == len(set(sent))
    # The daily schedule is not due, however often a scheduler starts.
    assert {occurrence.partition("@")[0] for occurrence in sent} == {"tick"}


async def test_a_task_learns_which_tick_it_is(ticking: ProcessFactory, queued_tasks: QueuedTasks) -> None:
    with ticking():
        await wait_for_ticks(queued_tasks, 1)
    [tick, *_] = await queued_tasks()
    assert tick.labels["schedule_id"] == f"tick@{tick.labels['scheduled_at']}"


async def test_the_production_table_is_accepted(scheduler: ProcessFactory) -> None:
    with scheduler() as process:
        pass
    assert "Traceback" not in process.log
