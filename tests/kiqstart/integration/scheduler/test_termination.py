import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.deadlines import HANG
from tests.fork_server.client import ForkingFactory

from kiqstart.cli.main import command_of
from kiqstart.scheduler.termination import end_on_sigterm
from kiqstart.testing import ServiceProcess
from kiqstart.testing.processes import ProcessFactory, kiqstart_command, taskiq_command

SLOW_APP = "tests.kiqstart.integration.scheduler.apps.slow_import:app"
APP = "tests.kiqstart.integration.scheduler.apps.ending:scheduler"
AS_PROCESS_1 = ["unshare", "--pid", "--fork", "--mount-proc"]


def can_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*AS_PROCESS_1, "true"], capture_output=True, check=False).returncode == 0


@pytest.fixture(params=["process 1", "any process"])
def prefix(request: pytest.FixtureRequest) -> list[str]:
    prefix = AS_PROCESS_1 if request.param == "process 1" else []
    if prefix and not can_unshare():
        pytest.skip("no right to make a namespace of processes")
    return prefix


@pytest.fixture
def scheduler(prefix: list[str], tmp_path: Path) -> Iterator[ServiceProcess]:
    command = [*prefix, *taskiq_command("scheduler", APP)]
    yield from running(factory_of(command, ready="Startup completed.", folder=tmp_path))


def factory_of(command: list[str], *, ready: str, folder: Path) -> ProcessFactory:
    kind = ForkingFactory if command[0] == sys.executable else ProcessFactory
    return kind(command=command, environment={}, ready=ready, log_folder=folder)


def running(factory: ProcessFactory) -> Iterator[ServiceProcess]:
    process = factory.start()
    try:
        process.wait_for_log(factory.ready)
        yield process
    finally:
        process.kill()


def pid_of(scheduler: ServiceProcess) -> int:
    if "began as process 1\n" not in scheduler.log:
        return scheduler.pid
    return int(Path(f"/proc/{scheduler.pid}/task/{scheduler.pid}/children").read_text())


def test_a_scheduler_ends_on_sigterm_also_as_process_1(scheduler: ServiceProcess) -> None:
    os.kill(pid_of(scheduler), signal.SIGTERM)
    assert scheduler.wait() == 0
    assert scheduler.log.count("ended\n") == 1
    assert "Traceback" not in scheduler.log


@pytest.fixture
def importing(prefix: list[str], tmp_path: Path) -> Iterator[ServiceProcess]:
    """A scheduler that has not come so far as to begin."""
    command = [*prefix, *kiqstart_command("--app", SLOW_APP, "scheduler")]
    yield from running(factory_of(command, ready="began as process", folder=tmp_path))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_scheduler_ends_on_a_signal_while_its_application_is_imported(
    importing: ServiceProcess, number: signal.Signals
) -> None:
    os.kill(pid_of(importing), number)
    assert importing.wait() == 0
    assert "Traceback" not in importing.log


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["scheduler", "--no-configure-logging"], "scheduler"),
        (["--app", "scheduler", "worker"], "worker"),
        (["--app=here:app", "schedules", "run", "scheduler"], "schedules"),
        (["--help"], ""),
    ],
)
def test_a_command_is_found_behind_the_options_of_all(arguments: list[str], command: str) -> None:
    assert command_of(arguments) == command


@pytest.fixture
def _no_handler() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("_no_handler")
async def test_a_second_sigterm_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    exits = list[int]()
    monkeypatch.setattr(os, "_exit", exits.append)

    async def hang() -> None:
        end_on_sigterm()
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                assert exits == []
            await asyncio.sleep(0.01)

    task = asyncio.create_task(hang())
    async with asyncio.timeout(HANG):
        while not exits:  # noqa: ASYNC110  # a signal is not an event
            await asyncio.sleep(0.01)
    task.cancel()
    asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
    assert exits == [143]


@pytest.mark.usefixtures("_no_handler")
async def test_a_handler_of_the_programs_own_is_kept() -> None:
    def own(*_: object) -> None: ...

    signal.signal(signal.SIGTERM, own)
    end_on_sigterm()
    assert signal.getsignal(signal.SIGTERM) is own


@pytest.mark.usefixtures("_no_handler")
def test_nothing_is_done_outside_the_main_thread() -> None:
    async def begin() -> None:
        end_on_sigterm()

    failures = list[BaseException]()

    def run() -> None:
        try:
            asyncio.run(begin())
        except BaseException as error:  # noqa: BLE001  # to be shown by the test
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert failures == []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
