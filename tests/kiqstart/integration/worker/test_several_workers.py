import asyncio
import os
import signal
from dataclasses import replace

from tests.deadlines import HANG
from tests.kiqstart.integration.worker.orphans import is_over, orphans_end_with_their_tasks
from tests.kiqstart.integration.worker.sender import Sender

from kiqstart.testing import ProcessFactory, ServiceProcess, eventually

# Signals in quicker succession are one request.
SECONDS_BETWEEN_REQUESTS = 0.5


async def processes(sender: Sender, number: int) -> set[int]:
    """The worker processes, once tasks have met so many of them."""
    found: set[int] = set()

    async def are_met() -> bool:
        sent = [await sender.send("tell_process") for _ in range(20)]
        found.update([(await one.wait_result(timeout=HANG)).return_value for one in sent])
        return len(found) >= number

    await eventually(are_met)
    return found


def start(worker: ProcessFactory, *arguments: str) -> ServiceProcess:
    process = worker.start("--workers", "2", *arguments)
    process.wait_for_log("Listening started.", times=2)
    return process


async def test_one_that_is_killed_is_started_anew(worker: ProcessFactory, sender: Sender) -> None:
    with worker("--workers", "2") as process:
        process.wait_for_log("Listening started.", times=2)
        before = await processes(sender, 2)
        assert process.pid not in before
        os.kill(min(before), signal.SIGKILL)
        process.wait_for_log("was killed by SIGKILL; it is started anew in 0.5 s")
        process.wait_for_log("Listening started.", times=3)
        after = await processes(sender, 2)
        assert max(before) in after
        assert len(after - before) == 1
        assert process.stop() == 0
    await is_over(process)


async def test_ctrl_c_reaches_all_of_them_twice_and_running_tasks_end(worker: ProcessFactory, sender: Sender) -> None:
    process = start(worker)
    try:
        task = await sender.send_waiting()
        # As a terminal sends it: to the parent, which passes it on, and to the workers.
        os.killpg(process.pid, signal.SIGINT)
        process.wait_for_log("Waiting for 1 running tasks to complete")
        await asyncio.sleep(SECONDS_BETWEEN_REQUESTS)
        sender.go_on.touch()
        assert process.wait() == 0
    finally:
        process.kill()
    assert not (await task.wait_result(timeout=HANG)).is_err
    assert await sender.nothing_is_left()
    assert "Traceback" not in process.log


async def test_a_second_signal_ends_all_at_once_and_their_tasks_are_given_back(
    worker: ProcessFactory, sender: Sender
) -> None:
    process = start(worker)
    try:
        task = await sender.send_waiting()
        process.send_signal(signal.SIGTERM)
        process.wait_for_log("Waiting for 1 running tasks to complete")
        await asyncio.sleep(SECONDS_BETWEEN_REQUESTS)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM
    finally:
        process.kill()
    with worker() as other:
        sender.go_on.touch()
        assert (await task.wait_result(timeout=HANG)).return_value == other.pid


async def test_they_end_when_their_parent_is_killed(worker: ProcessFactory, sender: Sender) -> None:
    await orphans_end_with_their_tasks(start(worker), sender)


async def test_a_process_is_replaced_after_its_number_of_tasks(worker: ProcessFactory, sender: Sender) -> None:
    with worker("--max-tasks-per-child", "1") as process:
        assert await sender.value("tell_process") != await sender.value("tell_process")
        assert process.stop() == 0


def test_the_pauses_before_one_that_cannot_start_grow(worker: ProcessFactory) -> None:
    *command, place = worker.command
    broken = replace(
        worker,
        command=[*command, place.replace(".app:", ".broken:"), "--workers", "2"],
        ready="worker-1 ended with exit code 1; it is started anew in 2 s",
    )
    with broken() as process:
        log = process.log
        assert "RuntimeError: broken on purpose" in log
        assert log.index("anew in 0.5 s") < log.index("anew in 1 s") < log.index("anew in 2 s")
        assert process.stop() == 0


async def test_they_end_after_so_many_ends(worker: ProcessFactory, sender: Sender) -> None:
    process = start(worker, "--max-fails", "1")
    try:
        os.kill(await sender.value("tell_process"), signal.SIGKILL)
        assert process.wait() == 1
        assert "was killed by SIGKILL, the last end that --max-fails 1 allows" in process.log
    finally:
        process.kill()
