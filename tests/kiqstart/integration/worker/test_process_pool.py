import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from taskiq import AsyncTaskiqTask
from tests.deadlines import HANG
from tests.fork_server.client import ForkingFactory
from tests.kiqstart.integration.worker.sender import Sender
from tests.process_table import is_gone, parent_of

from kiqstart.tasks.results.errors import WorkerLostError
from kiqstart.testing import ProcessFactory, ServiceProcess, eventually
from kiqstart.testing.processes import kiqstart_command, taskiq_command

APP = "tests.kiqstart.integration.worker.pool_app:broker"
KIQSTART = kiqstart_command("worker", APP)
TASKIQ = taskiq_command("worker", APP, "--workers", "1")


@pytest.fixture
def command() -> list[str]:
    return KIQSTART


@pytest.fixture
def worker(command: list[str], worker_environment: dict[str, str], tmp_path: Path) -> ProcessFactory:
    return ForkingFactory(
        command=[*command, "--use-process-pool", "--max-process-pool-processes", "2"],
        environment=worker_environment,
        ready="Listening started.",
        log_folder=tmp_path,
    )


async def send(sender: Sender, name: str, *args: object, **kwargs: object) -> AsyncTaskiqTask[Any]:
    task = sender.broker.register_task(_never_run, task_name=name)
    return await task.kiq(*args, **kwargs)


async def send_waiting(sender: Sender, folder: Path) -> tuple[AsyncTaskiqTask[Any], int]:
    """Send a task that runs until the file `go` is there; gives the process that it runs in, too."""
    told = folder / "told"
    sent = await send(sender, "wait_for", str(folder / "go"), told=str(told))

    async def runs() -> bool:
        return told.exists() and told.read_text().endswith("\n")

    await eventually(runs)
    return sent, int(told.read_text())


async def test_a_task_that_takes_its_process_down_is_a_dead_letter_and_later_ones_run(
    worker: ProcessFactory, sender: Sender
) -> None:
    with worker() as process:
        result = await (await send(sender, "die")).wait_result(timeout=HANG)
        assert isinstance(result.error, WorkerLostError), process.log
        assert (await (await send(sender, "add", 1)).wait_result(timeout=HANG)).return_value == 2
        misfit = await (await send(sender, "add", 1, another=2)).wait_result(timeout=HANG)
        assert isinstance(misfit.error, TypeError)
        letters = await sender.broker.dead_letters.list()
        assert [letter.reason for letter in letters] == ["invalid-arguments", "worker-lost"]
        assert letters[1].detail == "the process of the pool that ran it has died 2 times"
    assert await sender.nothing_is_left()


@pytest.mark.parametrize("command", [KIQSTART, TASKIQ], ids=["kiqstart", "taskiq"])
async def test_the_processes_of_a_killed_worker_end_with_it(
    worker: ProcessFactory, sender: Sender, tmp_path: Path
) -> None:
    process = worker.start()
    try:
        process.wait_for_log(worker.ready)
        _, pooled = await send_waiting(sender, tmp_path)
        # With taskiq's command the worker is a child of its manager.
        os.kill(parent_of(pooled), signal.SIGKILL)
        await eventually(lambda: is_gone(pooled))
    finally:
        process.kill()


async def test_a_worker_that_ends_cuts_off_what_its_processes_still_run_and_gives_it_back(
    worker: ProcessFactory, sender: Sender, tmp_path: Path
) -> None:
    process: ServiceProcess
    with worker("--wait-tasks-timeout", "1") as process:
        sent, pooled = await send_waiting(sender, tmp_path)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait) == 0
        await eventually(lambda: is_gone(pooled))
    with worker():
        (tmp_path / "go").touch()
        assert (await sent.wait_result(timeout=HANG)).return_value != pooled


async def _never_run(*_: object, **__: object) -> None: ...
