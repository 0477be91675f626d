import subprocess

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from kiqstart.testing import ProcessFactory

NOTHING_LISTENS = "127.0.0.1:1"

CASES = [
    ({"DATABASE_URL": ""}, "settings: DATABASE_URL "),
    ({"DATABASE_URL": "mysql://localhost/x"}, "settings: DATABASE_URL must name PostgreSQL"),
    ({"REDIS_URL": "http://localhost"}, "settings: REDIS_URL is no URL of a Redis"),
    ({"TASKS_RESULT_TTL": "soon"}, "settings: TASKS_RESULT_TTL Input should be a valid integer"),
    ({"LOG_LEVEL": "LOUD"}, "settings: LOG_LEVEL Input should be "),
    ({"REDIS_URL": f"redis://:hunter2@{NOTHING_LISTENS}/0"}, f"cannot use Redis at {NOTHING_LISTENS} (REDIS_URL): "),
]
DATABASE_CASES = [
    (
        {"DATABASE_URL": f"postgresql://me:hunter2@{NOTHING_LISTENS}/x"},
        f"cannot reach PostgreSQL at {NOTHING_LISTENS}/x (DATABASE_URL): ",
    ),
]


def complaint(log: str) -> str:
    """The one line that tells what is wrong; workers of one manager may each print it."""
    lines = {line for line in log.splitlines() if line.startswith("kiqstart: ")}
    assert len(lines) == 1, log
    assert "Traceback" not in log, log
    assert "hunter2" not in log, log
    return lines.pop().removeprefix("kiqstart: ")


@pytest.mark.parametrize(("environment", "line"), CASES + DATABASE_CASES)
def test_a_worker_does_not_start(worker: ProcessFactory, environment: dict[str, str], line: str) -> None:
    process = worker.start(environment=environment)
    assert process.wait() != 0
    assert complaint(process.log).startswith(line)


@pytest.mark.parametrize(("environment", "line"), [CASES[2], CASES[-1]])
def test_a_scheduler_does_not_start(scheduler: ProcessFactory, environment: dict[str, str], line: str) -> None:
    process = scheduler.start(environment=environment)
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


def test_a_missing_setting_is_named(worker: ProcessFactory) -> None:
    environment = {key: value for key, value in worker.environment.items() if key != "REDIS_URL"}
    outcome = subprocess.run(
        list(worker.command),
        env=environment,
        cwd=worker.log_folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert outcome.returncode != 0
    assert complaint(outcome.stderr).startswith("settings: REDIS_URL is not set")


@pytest.mark.parametrize("module", ["unknown_task", "bad_cron"])
def test_a_wiring_mistake_names_file_and_line(scheduler: ProcessFactory, module: str) -> None:
    command = [*scheduler.command[:-1], f"tests.end_to_end.apps.{module}:scheduler"]
    process = ProcessFactory(
        command=command, environment=scheduler.environment, ready="", log_folder=scheduler.log_folder
    ).start()
    assert process.wait() == 1
    assert complaint(process.log).startswith(f"tests/end_to_end/apps/{module}.py:")
