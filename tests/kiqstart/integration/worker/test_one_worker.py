import asyncio
import signal
from dataclasses import replace

from tests.deadlines import HANG
from tests.fork_server.client import start_anew
from tests.kiqstart.integration.worker.sender import Sender

from kiqstart.testing import ProcessFactory

INTERRUPTED = 128 + signal.SIGINT
# Signals in quicker succession are one request.
SECONDS_BETWEEN_REQUESTS = 0.5
NOT_NEEDED = {
    "aiohttp",
    "alembic",
    "pydantic_settings",
    "rich",
    "sqlalchemy",
    "structlog",
    "taskiq.cli.worker.process_manager",
    "taskiq_redis",
    "typer",
}


async def test_it_runs_tasks_in_its_own_process(worker: ProcessFactory, sender: Sender) -> None:
    with worker() as process:
        assert await sender.value("tell_process") == process.pid


async def test_it_imports_only_what_it_needs(worker: ProcessFactory, sender: Sender) -> None:
    with start_anew(worker)():
        assert not NOT_NEEDED & set(await sender.value("tell_modules"))


async def test_a_function_may_make_the_broker(worker: ProcessFactory, sender: Sender) -> None:
    *command, place = worker.command
    made = replace(worker, command=[*command, place.replace(":broker", ":make_broker")])
    with made() as process:
        assert await sender.value("tell_process") == process.pid


async def test_sigterm_lets_a_running_task_end(worker: ProcessFactory, sender: Sender) -> None:
    with worker() as process:
        task = await sender.send_waiting()
        process.send_signal(signal.SIGTERM)
        process.wait_for_log("Waiting for 1 running tasks to complete")
        sender.go_on.touch()
        assert process.wait() == 0
    assert (await task.wait_result(timeout=HANG)).return_value == process.pid
    assert await sender.nothing_is_left()


async def test_a_second_signal_ends_it_at_once_and_another_worker_has_its_task(
    worker: ProcessFactory, sender: Sender
) -> None:
    with worker() as process:
        task = await sender.send_waiting()
        process.send_signal(signal.SIGINT)
        process.wait_for_log("Waiting for 1 running tasks to complete")
        await asyncio.sleep(SECONDS_BETWEEN_REQUESTS)
        process.send_signal(signal.SIGINT)
        assert process.wait() == INTERRUPTED
    with worker() as other:
        sender.go_on.touch()
        assert (await task.wait_result(timeout=HANG)).return_value == other.pid


async def test_a_third_signal_ends_one_whose_event_loop_is_blocked(worker: ProcessFactory, sender: Sender) -> None:
    with worker() as process:
        await sender.send_blocking()
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            await asyncio.sleep(SECONDS_BETWEEN_REQUESTS)
        assert process.wait() == INTERRUPTED
