"""What docs/retention.md, docs/tasks.md and .env.example say of clean-ups: code is run, tables are compared."""

import asyncio
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType

import pytest
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings
from sqlalchemy import text
from taskiq import InMemoryBroker
from tests.deadlines import HANG
from tests.fork_server.client import run_forked
from tests.service import database_settings, migrated_database

from kiqstart.broker.settings import TasksSettings
from kiqstart.observability.logging import LogSettings
from kiqstart.processes.shutdown import ShutdownSignal
from kiqstart.redis.settings import RedisSettings
from kiqstart.retention.progress import RetentionProgress
from kiqstart.retention.report import RetentionReport
from kiqstart.tasks.controller import Controller
from kiqstart.tasks.errors import TaskInterruptedError
from kiqstart.testing.servers import Servers
from todo_service.infrastructure.database.engine import create_engine
from todo_service.infrastructure.database.settings import DatabaseSettings, RetentionEnvironment

ROOT = Path(__file__).parents[2]
RETENTION = (ROOT / "docs/retention.md").read_text()
TASKS = (ROOT / "docs/tasks.md").read_text()
MODEL, POLICY, PROGRAM, MORE_TABLES, NEWEST, ACTIONS, CEILINGS = re.findall(
    r"^```python\n(.*?)^```$", RETENTION, flags=re.MULTILINE | re.DOTALL
)
# Runs commands one after another: each process costs a second to start.
KIQSTART = """
import json, sys
from kiqstart.cli.main import run_command

for sys.argv[1:] in json.loads(sys.argv[1]):
    try:
        run_command()
    except SystemExit as ended:
        if ended.code:
            raise
"""

# What the scripts below begin with.
PARTS = """
import asyncio, json
from dataclasses import replace
from datetime import UTC, datetime
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from kiqstart.retention.engine import RetentionEngine
from kiqstart.retention.policy import ScanKind
from todo_service.infrastructure.database.base import Base
from todo_service.ioc.container import ContainerFactory

container = ContainerFactory()()
engine, retention = container.resolve(AsyncEngine), container.resolve(RetentionEngine)

async def execute(statements):
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        return [await connection.execute(text(one)) for one in statements.split(";")][-1]
"""

# Runs the policies of the script before it, and prints what is left in their tables.
RUN_POLICIES = """
async def main():
    await execute('''
        CREATE TABLE events_2020 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
        CREATE TABLE events_later PARTITION OF events DEFAULT;
        INSERT INTO readings VALUES (1, '2020-01-01'), (1, now()), (2, '2020-01-01'), (2, now() - interval '89 days');
        INSERT INTO documents VALUES (1, '2020-01-01'), (2, now()), (3, NULL), (4, now() - interval '91 days');
        INSERT INTO events VALUES (1, '2020-05-05', 'debug'), (2, '2020-05-05', 'error'), (3, now(), 'debug'),
            (4, now() - interval '91 days', 'debug');
        INSERT INTO logins SELECT n, n / 5, timestamptz '2020-01-01' + n * interval '1 h' FROM generate_series(0, 9) n
    ''')
    for policy in (old_readings, old_documents, old_debug_events, old_logins):
        report = await retention.run(policy)
        left = sorted(row[0] for row in await execute(f"SELECT * FROM {policy.table.name}"))
        print(json.dumps([policy.name, report.scan, report.deleted, left]))
    await engine.dispose()

asyncio.run(main())
"""

# Runs the policies with another action than DELETE, and prints what has become of the rows.
RUN_ACTIONS = """
async def main():
    await execute('''
        CREATE TABLE events_2020 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
        CREATE TABLE events_later PARTITION OF events DEFAULT;
        INSERT INTO documents VALUES (1, '2020-01-01'), (2, now()), (3, NULL);
        INSERT INTO customers VALUES (1, 'a@b.c', 'Ada', '2020-01-01'), (2, 'd@e.f', 'Bob', now());
        INSERT INTO events VALUES (1, '2020-05-05', 'error'), (2, now() - interval '91 days', 'error'),
            (3, now(), 'error')
    ''')
    report = await retention.run(archived_documents)
    rows = await execute(
        "SELECT 'left', id FROM documents UNION SELECT 'archived', id FROM archived_documents ORDER BY 1, 2"
    )
    print(json.dumps([report.deleted, [list(row) for row in rows]]))
    report = await retention.run(forgotten_customers)
    rows = await execute("SELECT id, email, name FROM customers ORDER BY 1")
    print(json.dumps([report.deleted, [list(row) for row in rows]]))
    report = await retention.run(old_events)
    rows = await execute("SELECT id, tableoid::regclass::text FROM events")
    print(json.dumps([report.deleted, [list(row) for row in rows], len(report.partitions)]))
    [choice] = await retention.check([readings_at_night])
    print(json.dumps([readings_at_night.pace, str(readings_at_night.window), choice.kind]))
    await engine.dispose()

asyncio.run(main())
"""

# Prints what the engine logs for a table in order and for a shuffled one, and how it refuses a policy without an index.
RUN_CHOICES = """
from todo_service.core.access_token.policy import expired_tokens

async def main():
    policy = expired_tokens(datetime.now(UTC))
    for order in ("n", "random()"):
        await execute(f'''
            TRUNCATE access_tokens;
            INSERT INTO access_tokens (expires_at)
                SELECT now() + (n - 2000) * interval '1 s' FROM generate_series(1, 20000) n ORDER BY {order};
            ANALYZE access_tokens
        ''')
        [choice] = await retention.check([policy])
        print(f"{policy.name}: goes along the {choice.kind.described}: {choice.reason}")
    await execute("DROP INDEX ix_access_tokens_expires_at")
    try:
        await retention.check([replace(policy, scan=ScanKind.KEY)])
    except ValueError as error:
        print(error)
    await engine.dispose()

asyncio.run(main())
"""


@dataclass(frozen=True)
class Extended:
    """A copy of the source with the third table, and a database of its own that has it too."""

    folder: Path
    database_url: str

    def python(self, script: str, *arguments: str) -> str:
        return run_python(script, *arguments, source=self.folder, database_url=self.database_url)

    def kiqstart(self, *commands: list[str]) -> str:
        return self.python(KIQSTART, json.dumps(commands))

    def sql(self, *statements: str) -> list[object]:
        """Return the first column of what the last statement finds."""
        return asyncio.run(self._sql(*statements))

    async def _sql(self, *statements: str) -> list[object]:
        engine = create_engine(database_settings(self.database_url))
        try:
            async with engine.begin() as connection:
                results = [await connection.execute(text(statement)) for statement in statements]
                return [row[0] for row in results[-1]] if results[-1].returns_rows else []
        finally:
            await engine.dispose()


def run_python(script: str, *arguments: str, source: Path, database_url: str) -> str:
    outcome = run_forked(
        [sys.executable, "-c", script, *arguments],
        environment={
            **os.environ,
            "PYTHONPATH": str(source / "src"),
            "DATABASE_URL": database_url,
            "REDIS_URL": "memory://",
        },
        folder=source,
        timeout=HANG,
    )
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def path_before(code: str) -> str:
    """The file that the text before a block of code names."""
    return str(re.findall(r"`(src/\S+\.py)`", RETENTION.partition(code)[0])[-1])


def add_third_table(folder: Path) -> None:
    for name in ("src", "migrations"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for code in (MODEL, POLICY):
        target = folder / path_before(code)
        target.parent.mkdir(exist_ok=True)
        target.with_name("__init__.py").touch()
        target.write_text(code)
    line = re.search(r"`retention_policies`, `(\S+)`, is `(.+?)`", RETENTION)
    assert line
    policies = folder / line[1]
    source = policies.read_text().replace("        return [\n", f"        return [\n            {line[2]}\n", 1)
    added = "\nfrom todo_service.core.access_token.policy import expired_tokens\nfrom todo_service"
    policies.write_text(source.replace("\nfrom todo_service", added, 1))


@pytest.fixture(scope="module")
def extended(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Generator[Extended]:
    folder = tmp_path_factory.mktemp("extended")
    add_third_table(folder)
    with migrated_database(servers.database_url) as url:
        made = Extended(folder, url)
        commands = re.findall(r"`kiqstart (migrat\w+)(?: \"(.+?)\")?`", RETENTION.partition("\n## Alone")[0])
        assert [name for name, _ in commands] == ["migration", "migrate"]
        made.kiqstart(*([name, *filter(None, [argument])] for name, argument in commands))
        yield made


def test_a_model_a_policy_and_a_line_clean_up_a_third_table(extended: Extended) -> None:
    days_old = "unnest('{8, 9, 100, 6, 1, -1}'::int[])"
    rows = f"INSERT INTO access_tokens (expires_at) SELECT now() - make_interval(days => {days_old})"
    extended.sql("TRUNCATE access_tokens", rows)
    printed = extended.kiqstart(["retention"], ["check"])
    assert "expired_tokens: would delete 5 of" in printed
    assert "3 policies can be run" in printed
    assert extended.python(PROGRAM) == "3 end\n"
    assert extended.sql("SELECT (now()::date - expires_at::date) FROM access_tokens ORDER BY 1 DESC") == [6, 1, -1]


def test_the_engine_explains_its_choice_in_the_documented_words(extended: Extended) -> None:
    def words(line: str) -> str:
        return re.sub(r"-?\d[\d,.]*", "0", line.strip())

    documented = re.findall(r"^    .*expired_tokens.*$", RETENTION.partition("\n## How a batch")[2], re.MULTILINE)
    assert len(documented) == 3
    assert [words(line) for line in documented] == [
        words(line) for line in extended.python(PARTS + RUN_CHOICES).splitlines()
    ]


def test_composite_keys_nullable_cursors_partitions_and_newest_rows_are_cleaned_up_as_documented(
    servers: Servers,
) -> None:
    with migrated_database(servers.database_url) as url:
        printed = run_python(PARTS + MORE_TABLES + NEWEST + RUN_POLICIES, source=ROOT, database_url=url)
    assert [json.loads(line) for line in printed.splitlines()] == [
        ["old_readings", "pages", 2, [1, 2]],
        ["old_documents", "key", 2, [2, 3]],
        ["old_debug_events", "key", 2, [2, 3]],
        ["old_logins", "pages", 4, [2, 3, 4, 7, 8, 9]],
    ]


def test_policies_archive_update_drop_partitions_and_have_ceilings_as_documented(servers: Servers) -> None:
    with migrated_database(servers.database_url) as url:
        script = PARTS + MORE_TABLES + ACTIONS + CEILINGS + RUN_ACTIONS
        printed = run_python(script, source=ROOT, database_url=url)
    assert [json.loads(line) for line in printed.splitlines()] == [
        [1, [["archived", 1], ["left", 2], ["left", 3]]],
        [1, [[1, None, "deleted"], [2, "d@e.f", "Bob"]]],
        [1, [[3, "events_later"]], 1],
        ["full", "23:00 to 05:00 Europe/Berlin", "pages"],
    ]


def defaults(settings: type[BaseSettings]) -> dict[str, str]:
    """Return the environment variables with their defaults as a reader would write them, or `none`."""

    def written(default: object) -> str:
        if default is PydanticUndefined or default is None:
            return "none"
        if isinstance(default, bool):
            return str(default).lower()
        return f"{default:g}" if isinstance(default, float) else str(default)

    prefix = settings.model_config.get("env_prefix", "")
    return {f"{prefix}{name}".upper(): written(field.default) for name, field in settings.model_fields.items()}


def test_every_retention_setting_is_documented_with_its_default() -> None:
    documented = dict(re.findall(r"^\| `(RETENTION_\w+)` \| (\S+) \|", RETENTION, flags=re.MULTILINE))
    assert documented == defaults(RetentionEnvironment)


@pytest.mark.parametrize(
    "settings", [DatabaseSettings, RedisSettings, TasksSettings, LogSettings, RetentionEnvironment]
)
def test_the_example_of_an_environment_file_lists_every_setting(settings: type[BaseSettings]) -> None:
    listed = dict(re.findall(r"^(?:# )?([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), flags=re.MULTILINE))
    for name, value in defaults(settings).items():
        assert listed[name] == (listed[name] if value == "none" else value)


def test_every_field_of_report_and_progress_is_documented() -> None:
    report = RETENTION.partition("\nThe report: ")[2].partition("\n## ")[0]
    assert {field.name for field in fields(RetentionReport)} <= set(re.findall(r"`(\w+)`", report))
    progress = TASKS.partition("\n## The clean-ups")[2].partition("\n## ")[0]
    assert {field.name for field in fields(RetentionProgress)} <= set(re.findall(r"`(\w+)`", progress))


async def test_the_documented_long_task_stops_between_two_steps_when_its_worker_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    [code] = re.findall(r"^```python\n([^`]*?TaskInterruptedError.*?)^```$", TASKS, flags=re.MULTILINE | re.DOTALL)
    # taskiq looks a task's module up by its name.
    module = ModuleType("documented")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, "docs/tasks.md", "exec"), vars(module))  # noqa: S102  # our own documentation
    make_controller: Callable[..., Controller] = vars(module)["RebuildTaskController"]
    steps = list[int]()
    shutdown = ShutdownSignal()

    class Pages:
        async def left(self, report_id: int) -> list[int]:
            return [page for page in range(report_id) if page not in steps]

        async def build(self, page: int) -> None:
            steps.append(page)
            if len(steps) == 2:
                shutdown.event.set()

    broker = InMemoryBroker(await_inplace=True)
    make_controller(_pages=Pages(), _shutdown=shutdown).register(broker)
    [task] = [task for task in broker.get_all_tasks().values() if task.task_name == "report.rebuild"]
    sent = await task.kiq(4)
    assert (steps, await sent.is_ready()) == ([0, 1], False)
    with pytest.raises(TaskInterruptedError, match="stopped before page 2"):
        await task.original_func(4)
    shutdown.event.clear()
    assert (await (await task.kiq(4)).wait_result(timeout=HANG)).error is None
    assert steps == [0, 1, 2, 3]
