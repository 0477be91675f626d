import os
import runpy
import shutil
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.deadlines import HANG
from tests.fork_server.client import run_forked

import kiqstart
from kiqstart import LogSettings
from kiqstart.testing import ProcessFactory, eventually
from kiqstart.testing.processes import kiqstart_command

ROOT = Path(__file__).parents[2]
NOTHING_LISTENS = "127.0.0.1:1"

SETTING = ({"REDIS_URL": "http://localhost"}, "settings: REDIS_URL is no URL of a Redis")
SETTINGS = [
    ({"DATABASE_URL": "mysql://localhost/x"}, "settings: DATABASE_URL must name PostgreSQL"),
    SETTING,
    ({"TASKS_RESULT_TTL": "soon"}, "settings: TASKS_RESULT_TTL Input should be a valid integer"),
    ({"TASKS_KEY_PREFIX": "{a}"}, "settings: TASKS_KEY_PREFIX has letters, digits and _ . : - only"),
    ({"LOG_LEVEL": "LOUD"}, "settings: LOG_LEVEL Input should be "),
    ({"RETENTION_BATCH_SECONDS": "soon"}, "settings: RETENTION_BATCH_SECONDS Input should be a valid number"),
    ({"RETENTION_PAUSE": "15"}, "settings: RETENTION_TAKEOVER_AFTER must be above the pause"),
]
NO_REDIS = (
    {"REDIS_URL": f"redis://:hunter2@{NOTHING_LISTENS}/0"},
    f"cannot use Redis at {NOTHING_LISTENS} (REDIS_URL): ",
)
NO_DATABASE = (
    {"DATABASE_URL": f"postgresql://me:hunter2@{NOTHING_LISTENS}/x"},
    f"cannot reach PostgreSQL at {NOTHING_LISTENS}/x (DATABASE_URL): ",
)

NO_DATABASE_NAMED = ({"DATABASE_URL": ""}, "settings: DATABASE_URL is not set")


def complaint(log: str) -> str:
    """The one line that tells what is wrong."""
    lines = [line for line in log.splitlines() if line.startswith("kiqstart: ")]
    assert len(lines) == 1, log
    assert "Traceback" not in log, log
    assert "hunter2" not in log, log
    return lines.pop().removeprefix("kiqstart: ")


def leave_logging(_settings: LogSettings) -> None:
    """The log of this process is pytest's."""


@pytest.mark.parametrize(("environment", "line"), SETTINGS)
def test_what_worker_and_scheduler_import_names_the_setting_at_fault(
    service_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environment: dict[str, str],
    line: str,
) -> None:
    for name, value in {**service_environment, **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(kiqstart, "configure_logging", leave_logging)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("todo_service.delivery.tasks.app")
    assert ended.value.code == 1
    assert complaint(capsys.readouterr().err).startswith(line)


@pytest.mark.parametrize(("environment", "line"), [SETTING, NO_REDIS, NO_DATABASE, NO_DATABASE_NAMED])
def test_a_worker_does_not_start(taskiq_worker: ProcessFactory, environment: dict[str, str], line: str) -> None:
    process = taskiq_worker.start(environment=environment)
    assert process.wait() != 0
    assert complaint(process.log).startswith(line)


async def test_several_workers_of_one_manager_complain_once(taskiq_worker: ProcessFactory) -> None:
    process = taskiq_worker.start("--workers", "4", environment={"REDIS_URL": "http://localhost"})
    assert process.wait() != 0

    async def all_have_ended() -> bool:
        return not process.is_running

    await eventually(all_have_ended)
    assert process.log.count("kiqstart: ") == 1
    assert "Traceback" not in process.log


@pytest.mark.parametrize(("environment", "line"), [SETTING, NO_REDIS])
def test_a_worker_without_taskiqs_manager_complains_once(
    service_environment: dict[str, str], environment: dict[str, str], line: str
) -> None:
    done = run_forked(
        kiqstart_command("worker"),
        environment={**os.environ, **service_environment, **environment},
        folder=ROOT,
        timeout=HANG,
    )
    assert done.returncode == 1
    assert complaint(done.stderr).startswith(line)


@pytest.mark.parametrize(("environment", "line"), [SETTING, NO_REDIS])
def test_a_scheduler_does_not_start(taskiq_scheduler: ProcessFactory, environment: dict[str, str], line: str) -> None:
    process = taskiq_scheduler.start(environment=environment)
    assert process.wait() == 1
    assert complaint(process.log).startswith(line)


async def test_a_worker_asks_for_the_migration_that_is_missing(worker: ProcessFactory, engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        version = await connection.scalar(text("SELECT version_num FROM alembic_version"))
        await connection.execute(text("UPDATE alembic_version SET version_num = 'somewhere'"))
    try:
        process = worker.start()
        assert process.wait() != 0
        assert "the database's schema is at somewhere" in complaint(process.log)
    finally:
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})


def test_a_missing_setting_is_named(taskiq_worker: ProcessFactory) -> None:
    environment = {key: value for key, value in taskiq_worker.environment.items() if key != "REDIS_URL"}
    outcome = run_forked(taskiq_worker.command, environment=environment, folder=taskiq_worker.log_folder, timeout=HANG)
    assert outcome.returncode != 0
    assert complaint(outcome.stderr).startswith("settings: REDIS_URL is not set")


WIRING = [
    (
        "worker",
        "delivery/tasks/schedules.py",
        '"0 2 * * *"',
        '"61 2 * * *"',
        "cleanup-completed-todos-daily': cron '61 2 * * *'",
    ),
    (
        "scheduler",
        "delivery/tasks/schedules.py",
        '"0 2 * * *"',
        '"0 0 30 2 *"',
        "cleanup-completed-todos-daily': cron ",
    ),
    (
        "scheduler",
        "delivery/tasks/schedules.py",
        '"days_old"',
        '"weeks_old"',
        "cleanup-sessions-daily': arguments do not fit",
    ),
    (
        "scheduler",
        "delivery/tasks/schedules.py",
        "task=TaskName.TODO_CLEANUP",
        'task="todo.wash"',
        "there is no task 'todo.wash'",
    ),
    (
        "worker",
        "ioc/container.py",
        "Singleton(PingTaskController, interface=Controller),",
        "",
        "TaskName.PING ('ping') has no controller",
    ),
    ("worker", "delivery/tasks/names.py", '"session.cleanup"', '"ping"', "task 'ping': the name is taken already"),
]


@pytest.mark.parametrize(("kind", "file", "right", "wrong", "line"), WIRING)
def test_a_wiring_mistake_stops_the_process_with_a_line_that_names_the_file(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, file: str, right: str, wrong: str, line: str
) -> None:
    # With what is compiled of it, but not what is being compiled now.
    package = tmp_path / "src" / "todo_service"
    shutil.copytree(ROOT / "src" / "todo_service", package, ignore=shutil.ignore_patterns("*.pyc.*"))
    source = package / file
    assert source.read_text().count(right) == 1
    source.write_text(source.read_text().replace(right, wrong))
    factory: ProcessFactory = request.getfixturevalue(kind)
    process = factory.start(environment={"PYTHONPATH": str(tmp_path / "src")})
    assert process.wait() != 0
    assert line in complaint(process.log)
    assert ".py:" in complaint(process.log)
