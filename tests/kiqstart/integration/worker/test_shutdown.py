"""Workers that cannot end by themselves: their event loop is blocked, or whoever was to end them is gone."""

import asyncio
import signal
import time
from typing import cast

import pytest
from redis.asyncio import Redis
from tests.deadlines import HANG
from tests.kiqstart.integration.worker.orphans import orphans_end_with_their_tasks
from tests.kiqstart.integration.worker.sender import Sender

from kiqstart.testing import ProcessFactory
from kiqstart.testing.processes import kiqstart_command, taskiq_command

APP = "tests.kiqstart.integration.worker.app:broker"
KIQSTART = kiqstart_command("worker", APP)
TASKIQ = taskiq_command("worker", APP, "--workers", "1")


@pytest.fixture
def command() -> list[str]:
    return TASKIQ


@pytest.mark.parametrize(("command", "task"), [(KIQSTART, "block"), (KIQSTART, "spin"), (TASKIQ, "block")])
async def test_one_whose_event_loop_is_blocked_gives_back_its_tasks_and_ends_after_its_grace_period(
    worker: ProcessFactory, sender: Sender, task: str
) -> None:
    redis, keys = cast("Redis", sender.broker.connection.redis), sender.broker.keys
    with worker("--wait-tasks-timeout", "0.5") as process:
        await sender.send_blocking(task)
        behind = await sender.send("tell_process")
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait) == 0
        assert time.monotonic() - asked > 0.5
        assert "A task blocks the event loop" in process.log
        # Given back, and not left to be missed: that would have made it a dead letter here.
        assert await redis.xlen(keys.returned("default")) >= 1
        assert await redis.xlen(keys.dead) == 0
    assert not await behind.is_ready()


async def test_one_that_ends_by_itself_within_its_grace_period_does_so(worker: ProcessFactory, sender: Sender) -> None:
    with worker("--wait-tasks-timeout", "30") as process:
        task = await sender.send_waiting()
        process.send_signal(signal.SIGTERM)
        process.wait_for_log("Waiting for 1 running tasks to complete")
        sender.go_on.touch()
        assert await asyncio.to_thread(process.wait) == 0
        assert "A task blocks the event loop" not in process.log
    assert not (await task.wait_result(timeout=HANG)).is_err


async def test_the_children_of_a_killed_manager_end_once_their_tasks_have(
    worker: ProcessFactory, sender: Sender
) -> None:
    process = worker.start()
    process.wait_for_log(worker.ready)
    await orphans_end_with_their_tasks(process, sender)
