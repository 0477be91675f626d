"""`make worker-dev`, `make scheduler-dev` and taskiq's `--reload`, while somebody makes mistakes in the service."""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Generator
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

import pytest
from tests.deadlines import HANG

from kiqstart.testing import ProcessFactory
from kiqstart.testing.processes import ServiceProcess
from todo_service.delivery.tasks.registry import TasksRegistry

ROOT = Path(__file__).parents[2]
EDITED = (
    "delivery/tasks/schedules.py",
    "delivery/tasks/names.py",
    "delivery/tasks/registry.py",
    "delivery/tasks/controllers/ping.py",
    "ioc/container.py",
)


@dataclass(frozen=True)
class Mistake:
    """What a file becomes, and what the processes say of it."""

    file: str
    text: str | None
    complaint: str


def source(file: str) -> str:
    return (ROOT / "src/todo_service" / file).read_text()


def replaced(file: str, right: str, wrong: str, complaint: str) -> Mistake:
    assert source(file).count(right) == 1
    return Mistake(file, source(file).replace(right, wrong), complaint)


def mistakes() -> Generator[Mistake]:
    files = cycle(EDITED)
    for added, complaint in (
        ("\ndef (\n", "SyntaxError"),
        ("\nfrom todo_service import nothing\n", "ImportError"),
        ("\nnothing_of_that_name\n", "NameError"),
        # What the next edit meets is still starting.
        ("\nimport time\nprint('it hangs', flush=True)\ntime.sleep(3600)\n", "it hangs"),
    ):
        file = next(files)
        yield Mistake(file, source(file) + added, complaint)
    yield Mistake("delivery/tasks/controllers/ping.py", None, "ModuleNotFoundError")
    line = "        Singleton(PingTaskController, interface=Controller),\n"
    yield replaced("ioc/container.py", line, "", "has no controller")
    yield replaced("delivery/tasks/schedules.py", "TaskName.PING", "'pong'", "there is no task 'pong'")


def dev_command(target: str) -> list[str]:
    """What `make` runs, with the Python of these tests."""
    make = ("make", "--dry-run", "--no-print-directory", target)
    shown = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    programs = Path(sys.executable).parent
    return [word.replace(".venv/bin", str(programs)) for word in shlex.split(shown.splitlines()[-1])]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The service in a folder of its own, which is the working directory."""
    for folder in ("src/todo_service", "migrations"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("*.pyc.*"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "src"))
    return tmp_path / "src/todo_service"


async def test_no_mistake_in_an_edit_ends_a_worker_and_the_next_save_is_run(
    package: Path, worker: ProcessFactory, registry: TasksRegistry
) -> None:
    with replace(worker, command=dev_command("worker-dev"))(wait=False) as process:
        process.wait_for_log("Listening started.")
        for mistake in mistakes():
            make_and_mend(mistake, package, process)
        answer = package / "delivery/tasks/controllers/ping.py"
        answer.write_text(source("delivery/tasks/controllers/ping.py").replace('result="pong"', 'result="after all"'))
        process.wait_for_log("Listening started.", times=2)
        task = await registry.ping.kiq()
        assert await task.result(timeout=HANG) == {"result": "after all"}


def test_no_mistake_in_an_edit_ends_a_scheduler(package: Path, scheduler: ProcessFactory) -> None:
    with replace(scheduler, command=dev_command("scheduler-dev"))(wait=False) as process:
        process.wait_for_log("Startup completed.")
        make_and_mend(next(mistakes()), package, process)
        process.wait_for_log("Startup completed.", times=2)


def make_and_mend(mistake: Mistake, package: Path, process: ServiceProcess) -> None:
    """Make a mistake, see it complained of, and mend it."""
    times = process.log.count(mistake.complaint)
    edited = package / mistake.file
    if mistake.text is None:
        edited.unlink()
    else:
        edited.write_text(mistake.text)
    process.wait_for_log(mistake.complaint, times=times + 1)
    edited.write_text(source(mistake.file))


def test_taskiqs_reload_goes_on_after_a_mistake_in_the_wiring(package: Path, taskiq_worker: ProcessFactory) -> None:
    mistake = next(one for one in mistakes() if one.complaint == "has no controller")
    edited = package / mistake.file
    edited.write_text(mistake.text or "")
    with taskiq_worker("--reload", "--reload-dir", "src", wait=False) as process:
        process.wait_for_log(mistake.complaint, times=2)
        edited.write_text(source(mistake.file))
        process.wait_for_log("Listening started.")
