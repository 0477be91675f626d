import asyncio
import json
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.end_to_end.cli.command_line import CommandLine
from tests.end_to_end.cli.in_process import Kiqstart, look_once
from tests.kiqstart.integration.redis.servers import make_server, running

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.settings import TasksSettings
from kiqstart.retention import RetentionEngine
from kiqstart.testing import ProcessFactory
from todo_service.delivery.tasks.names import TaskName
from todo_service.delivery.tasks.schedules import SCHEDULES


def test_everything_is_there(kiqstart: CommandLine) -> None:
    done = kiqstart.run("check")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ok ") == 10
    assert f"{len(TaskName)} tasks, {len(list(SCHEDULES))} schedules" in done.stdout
    assert "retention   2 policies can be run" in done.stdout


def test_that_no_scheduler_lives_is_a_note_and_a_failure_where_one_is_asked_for(kiqstart_on_database: Kiqstart) -> None:
    noted = kiqstart_on_database("check")
    assert (noted.code, noted.err) == (0, "")
    assert "\nnote    scheduler   no scheduler is running: start `kiqstart scheduler`" in noted.out
    failed = kiqstart_on_database("check", "--scheduler")
    assert failed.code == 1
    assert failed.err.startswith("FAILED  scheduler   no scheduler is running: ")
    for arguments in (["check"], ["check", "--scheduler"]):
        asyncio.run(look_once())
        done = kiqstart_on_database(*arguments)
        assert (done.code, done.err) == (0, "")
        assert "\nok      scheduler   polled " in done.out


def test_a_database_that_does_not_know_the_user_runs_and_so_the_user_is_to_be_corrected(
    kiqstart_on_database: Kiqstart, database_url: str
) -> None:
    url = make_url(database_url).set(username="stranger", password="hunter2").render_as_string(hide_password=False)
    done = kiqstart_on_database("check", environment={"DATABASE_URL": url})
    assert done.code == 1
    assert "FAILED  PostgreSQL  cannot reach PostgreSQL" in done.err
    assert done.err.endswith("; correct the user or the password\n")
    assert "hunter2" not in done.err + done.out


def test_all_that_is_wrong_is_shown_at_once(kiqstart_on_database: Kiqstart) -> None:
    nowhere = {"REDIS_URL": "redis://:hunter2@127.0.0.1:1", "DATABASE_URL": "postgresql://me:hunter2@127.0.0.1:1/x"}
    done = kiqstart_on_database("check", environment=nowhere)
    assert done.code == 1
    assert [line.split()[:2] for line in done.err.splitlines()] == [["FAILED", "Redis"], ["FAILED", "PostgreSQL"]]
    assert "hunter2" not in done.err + done.out
    # One cause is one line; the others say that they could not be looked at.
    skipped = [line.split(maxsplit=2) for line in done.out.splitlines() if line.startswith("skip ")]
    assert [name for _, name, _ in skipped] == [
        "schema", "retention", "scheduler", "schedules", "queues", "workers", "paused", "runs", "clean-ups"
    ]  # fmt: skip
    assert {text for *_, text in skipped} == {
        "not looked at, since Redis cannot be used", "not looked at, since PostgreSQL cannot be used"
    }  # fmt: skip
    as_json = json.loads(kiqstart_on_database("check", "--json", environment=nowhere).out)
    assert [one["name"] for one in as_json["checks"] if one["state"] == "failed"] == ["Redis", "PostgreSQL"]
    assert [one["name"] for one in as_json["checks"] if one["state"] == "skipped"] == [name for _, name, _ in skipped]
    # That no scheduler can be seen is no less of a failure where one is asked for.
    asked = kiqstart_on_database("check", "--scheduler", "--role", "monitor", environment=nowhere)
    assert (asked.code, asked.err.count("\n")) == (1, 1)


def test_each_setting_at_fault_is_named(kiqstart_on_database: Kiqstart) -> None:
    wrong = {"RETENTION_BATCH_SECONDS": "soon", "RETENTION_PAUSE": "-1", "TASKS_RESULT_TTL": "0"}
    done = kiqstart_on_database("check", environment=wrong)
    assert done.code == 1
    [line] = done.err.splitlines()
    assert line.startswith("FAILED  app         settings: ")
    for name in wrong:
        assert f"{name} Input should be " in line


def test_settings_of_retention_that_contradict_each_other_are_named(kiqstart_on_database: Kiqstart) -> None:
    done = kiqstart_on_database("check", environment={"RETENTION_PAUSE": "20"})
    assert done.code == 1
    assert done.err.startswith("FAILED  app         settings: RETENTION_TAKEOVER_AFTER must be above the pause")


@pytest.mark.parametrize(
    ("command", "setting"),
    [
        ("check", "REDIS_URL"),
        ("ping", "REDIS_URL"),
        ("shell", "REDIS_URL"),
        ("migrate", "DATABASE_URL"),
        ("retention", "DATABASE_URL"),
    ],
)
def test_a_missing_setting_is_one_line(kiqstart_on_database: Kiqstart, command: str, setting: str) -> None:
    done = kiqstart_on_database(command, environment={setting: ""})
    assert done.code == 1
    assert done.out == ""
    assert setting in done.err
    assert done.err.count("\n") == 1


def test_ping_measures_a_worker(kiqstart_on_database: Kiqstart, worker: ProcessFactory) -> None:
    with worker():
        done = kiqstart_on_database("ping")
    assert done.code == 0, done.err
    assert done.out.startswith("pong in ")
    assert done.out.endswith(" ms\n")


def test_ping_without_a_worker_is_one_line(kiqstart_on_database: Kiqstart) -> None:
    done = kiqstart_on_database("ping", "--timeout", "0.2")
    assert done.code == 1
    assert done.err.startswith("kiqstart: kiqstart.ping ")
    assert "had no result within 0.2 s: no worker takes the queue 'default'; start a worker" in done.err
    assert done.err.count("\n") == 1


@pytest.fixture
def by_prefix(tmp_path: Path) -> Generator[str]:
    """The URL of a Redis whose user may touch keys that begin with the prefix, without its braces."""
    with running(make_server(tmp_path)) as server:
        server.ask("ACL", "SETUSER", "me", "on", ">hunter2", "~kiqstart:*", "&kiqstart:*", "+@all", "-@dangerous")
        yield f"redis://me:hunter2@127.0.0.1:{server.port}"


@pytest.mark.parametrize("arguments", [["check"], ["ping", "--timeout", "0.5"]])
def test_rights_that_the_user_of_redis_lacks_are_one_line(
    kiqstart_on_database: Kiqstart, by_prefix: str, arguments: list[str]
) -> None:
    environment = {"REDIS_URL": by_prefix, "TASKS_KEY_PREFIX": "kiqstart"}
    done = kiqstart_on_database(*arguments, environment=environment)
    assert done.code == 1
    assert "lacks rights: add ~{kiqstart}* &{kiqstart}* with ACL SETUSER" in done.err.splitlines()[0]
    assert "Traceback" not in done.err
    assert "hunter2" not in done.err + done.out
    if arguments == ["check"]:
        assert "keys in Redis begin with {kiqstart}\n" in done.out
        assert "skip    queues      not looked at: see Redis\n" in done.out
        assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (
            "DROP TABLE retention_runs",
            "the table retention_runs is not there, though retention_version says ",
        ),
        (
            "ALTER TABLE retention_undeletable RENAME COLUMN error TO reason",
            "retention_undeletable is not the retention engine's: it has no column 'error'; ",
        ),
        (
            "ALTER TABLE retention_runs RENAME TO mine; CREATE VIEW retention_runs AS SELECT * FROM mine",
            "retention_runs is not the retention engine's: it is no table; ",
        ),
    ],
)
async def test_a_missing_or_foreign_table_is_named(
    kiqstart_on_database: Kiqstart, engine: AsyncEngine, spoil: str, line: str
) -> None:
    async with engine.begin() as connection:
        for statement in spoil.split("; "):
            await connection.execute(text(statement))
    try:
        done = await asyncio.to_thread(kiqstart_on_database, "check")
        listed = await asyncio.to_thread(kiqstart_on_database, "retention", "list")
        migrated = await asyncio.to_thread(kiqstart_on_database, "retention", "migrate")
        history = await asyncio.to_thread(kiqstart_on_database, "retention", "history")
    finally:
        async with engine.begin() as connection:
            await connection.execute(text("DROP VIEW IF EXISTS retention_runs" if "VIEW" in spoil else "SELECT 1"))
            for table in ("retention_version", "retention_runs", "retention_undeletable", "mine"):
                await connection.execute(text(f"DROP TABLE IF EXISTS {table}"))
        await RetentionEngine(engine).migrate()
    assert done.code == listed.code == 1
    assert f"FAILED  retention   {line}" in done.err
    assert listed.err.startswith(f"kiqstart: how the policies stand cannot be read: {line[:40]}")
    assert (migrated.code, migrated.out) == (1, "")
    assert migrated.err.startswith(f"kiqstart: {line[:40]}")
    if spoil.startswith("DROP"):
        assert history.err.startswith(f"kiqstart: what became of runs cannot be read: {line[:40]}")


async def test_what_the_database_says_against_the_engines_tables_is_one_line(
    kiqstart_on_database: Kiqstart, engine: AsyncEngine
) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE retention_runs RENAME TO mine"))
        await connection.execute(text("DROP TABLE retention_version"))
    try:
        done = await asyncio.to_thread(kiqstart_on_database, "retention", "migrate")
    finally:
        async with engine.begin() as connection:
            for table in ("retention_version", "retention_undeletable", "mine"):
                await connection.execute(text(f"DROP TABLE IF EXISTS {table}"))
        await RetentionEngine(engine).migrate()
    assert done.code == 1
    assert done.err.startswith("kiqstart: the retention engine's tables cannot be made: ")
    assert "already exists" in done.err
    assert len(done.err.splitlines()) == 1


def test_schedules_that_are_stuck_and_tasks_that_wait_for_nobody_are_named(
    scheduled: Kiqstart, redis_url: str, key_prefix: str
) -> None:
    assert "ok      schedules   3 are due in time" in scheduled("check").out
    keys = TasksSettings(key_prefix=key_prefix).keys
    with Redis.from_url(redis_url) as redis:
        now = redis.time()[0] * 1000
        assert redis.zadd(f"{keys.schedules}:due", {"ping-every-minute": now - 300_000}, xx=True, ch=True)
        redis.xadd(keys.stream("nobodys"), {"data": "{}"})
        redis.sadd(keys.untaken, "nobodys")
        redis.hset(keys.stats_of_hour(now), mapping={"mail\nstarted": 3, "mail\nfailed": 2, "mail\nsucceeded": 1})
    done = scheduled("check")
    assert "note    schedules   'ping-every-minute' is overdue for 5 min\n" in done.out
    unserved = "tasks wait that no worker takes: 1 in 'nobodys'; start a worker whose TASKS_QUEUES has it"
    assert f"note    queues      {unserved}\n" in done.out
    failed = "mail: 2 failed of 3 runs; `kiqstart runs list --outcome failed` says why"
    assert f"note    runs        in the last one to two hours {failed}\n" in done.out
    assert "note    workers     no worker lives: start `kiqstart worker`\n" in done.out


def test_a_policy_whose_rows_were_not_gone_through_for_two_days_is_a_note(
    kiqstart_on_database: Kiqstart, redis_url: str, key_prefix: str
) -> None:
    with Redis.from_url(redis_url) as redis:
        seconds = int(datetime.now(UTC).timestamp()) - 3 * 86400
        key = QueueKeys(f"{{{key_prefix}}}:tasks").retention_stats
        redis.hset(key, "completed_todos\nlast_success", str(seconds))
    done = kiqstart_on_database("check")
    assert (done.code, done.err) == (0, "")
    assert (
        "note    clean-ups   the last clean-up by 'completed_todos' that went through all rows was 3 d ago; "
        in done.out
    )
