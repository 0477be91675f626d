"""A shop of one's own, from the built wheel in an empty environment, by public names alone."""

import asyncio
import subprocess
from collections.abc import Callable, Generator

import pytest
from sqlalchemy import inspect, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from tests.end_to_end.examples.environment import EXAMPLES, Example, check_imports

SEND = """
task = await registry.order_remind.kiq()
print("waiting:", await task.result(timeout=200))
report = (await (await registry.retention_run.kiq("old_orders")).result(timeout=200)).report
print("deleted:", report.deleted)
"""

# Each command starts a process in an environment of its own.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def shop(example: Callable[[str], Example]) -> Example:
    return example("shop")


@pytest.fixture
def worker(shop: Example) -> Generator[None]:
    # It does not start with a schema that is behind.
    shop.output_of("kiqstart", "migrate")
    environment = {**shop.variables, "TASKS_QUEUES": "default,mail"}
    with subprocess.Popen(
        shop.command("kiqstart", "worker"), cwd=shop.folder, env=environment, stderr=subprocess.DEVNULL
    ) as process:
        yield
        process.terminate()


def execute(shop: Example, *statements: str) -> list[str]:
    """Run statements, and give the names of all tables."""

    async def run() -> list[str]:
        engine = create_async_engine(make_url(shop.environment["DATABASE_URL"]).set(drivername="postgresql+asyncpg"))
        async with engine.begin() as connection:
            for statement in statements:
                await connection.execute(text(statement))
            names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
        await engine.dispose()
        return sorted(names)

    return asyncio.run(run())


def test_it_takes_public_names_only_and_few_lines() -> None:
    assert check_imports(EXAMPLES / "shop") < 400


def test_its_schema_is_its_own_and_others_tables_are_left_alone(shop: Example) -> None:
    execute(shop, "CREATE TABLE theirs (id int PRIMARY KEY)")
    assert "The schema is up to date." in shop.output_of("kiqstart", "migrate")
    retention = ["retention_runs", "retention_undeletable", "retention_version"]
    assert execute(shop) == ["alembic_version", "orders", *retention, "theirs", "users"]
    done = shop.run("kiqstart", "migration", "nothing")
    assert done.stderr == "kiqstart: models and database agree: there is nothing to migrate\n"
    models = shop.folder / "shop" / "models.py"
    models.write_text(models.read_text() + "    note: Mapped[str | None]\n")
    changed = shop.outputs_of("migration 'add a note'", "migrate", "retention migrate")
    assert {output.splitlines()[-1] for output in changed.values()} == {"0"}
    [written] = (shop.folder / "migrations" / "versions").glob("*add_a_note.py")
    assert "'note'" in written.read_text()
    assert "drop_table" not in written.read_text()
    assert "create_table" not in written.read_text()
    assert "up to date" in changed["retention migrate"]


@pytest.mark.usefixtures("worker")
def test_every_command_is_about_the_shop(shop: Example) -> None:
    execute(
        shop,
        "INSERT INTO users (email) VALUES ('ada@example.org')",
        "INSERT INTO orders (user_id, ordered_at, shipped_at) SELECT 1, now() - interval '11 years', now() "
        "FROM generate_series(1, 3)",
        "INSERT INTO orders (user_id) VALUES (1)",
    )
    commands = {
        "retention": "would delete 3",
        "retention old_orders --dry-run": "would delete 3",
        "ping --timeout 30": "pong",
        "check": "3 tasks, 2 schedules",
        "tasks": "order.ship",
        "dead list": "",
        "schedules list": "",
        "metrics": "kiqstart_",
        "doctor": "",
        "cancel nothing": "",
    }
    printed = shop.outputs_of(*commands)
    for command, expected in commands.items():
        assert expected in printed[command]
        ends_well = {"0", "1"} if command in {"doctor", "cancel nothing"} else {"0"}
        assert printed[command].split("\n")[-1] in ends_well, printed[command]
    assert "1 policy can be run" in printed["check"]
    # Of the framework's own, which was run, it has what runs took.
    assert "ping" not in printed["tasks"].replace("kiqstart.ping", "")
    assert "is not" not in printed["dead list"]
    assert "waiting: 1\ndeleted: 3" in shop.output_of("kiqstart", "shell", stdin=SEND)


def test_its_own_tests_pass_with_the_fixtures(shop: Example) -> None:
    assert "4 passed" in shop.output_of("python", "-m", "pytest", "-q", "-p", "no:cacheprovider")
