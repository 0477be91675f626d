import json
import re
from asyncio import to_thread
from functools import partial

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.end_to_end.cli.command_line import CommandLine
from tests.end_to_end.cli.in_process import Kiqstart
from tests.end_to_end.cli.test_json_shapes import RUN_BY_A_WORKER, SHAPES, differences

from kiqstart.testing import ProcessFactory
from todo_service.infrastructure.database.database import service_database

ROWS = """
WITH ada AS (INSERT INTO users (username, email) VALUES ('ada', 'ada@example.org') RETURNING id),
sessions AS (
    INSERT INTO refresh_sessions (user_id, refresh_token_hash, created_at, expires_at)
    SELECT id, sha256(convert_to(n::text, 'UTF8')), now() - interval '9 days', now() + (n - 7.5) * interval '1 day'
    FROM ada, generate_series(1, 10) AS n
)
INSERT INTO todos (user_id, title, is_completed, completed_at)
SELECT id, 'todo ' || n, n <= 1234, CASE WHEN n <= 1234 THEN now() END FROM ada, generate_series(1, 2000) AS n
"""
COUNTS = "SELECT (SELECT count(*) FROM refresh_sessions), (SELECT count(*) FROM todos), count(*) FROM retention_runs"


async def test_it_tells_what_would_go_and_deletes_nothing(kiqstart: CommandLine, engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(text(ROWS))
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await connection.execute(text("VACUUM ANALYZE refresh_sessions, todos"))
    done = kiqstart.run("retention")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "expired_sessions: would delete 7 of about 10 rows"
    assert lines[1].startswith("  along the ")
    assert lines[2] == "completed_todos: would delete 1,234 of about 2,000 rows"
    assert lines[3] == "  along the heap's pages: the policy has no cursor"
    assert len(lines) == 4
    async with engine.connect() as connection:
        assert tuple((await connection.execute(text(COUNTS))).one()) == (10, 2000, 0)
    dry_run = kiqstart.run("retention", "expired_sessions", "--dry-run", "--sample", "2")
    assert dry_run.returncode == 0, dry_run.stderr
    shown = dry_run.stdout.splitlines()
    assert shown[:2] == lines[:2]
    assert shown[2] == "  its first batch:"
    assert shown[3].startswith("    DELETE FROM refresh_sessions WHERE ")
    plan = shown.index("  by the plan:")
    assert shown[plan + 1].startswith("    Delete on refresh_sessions ")
    assert shown[-3] == "  some of the rows:"
    assert all(re.fullmatch(r"    id=[0-9a-f-]{36} expires_at=2.*", line) for line in shown[-2:])
    unknown = kiqstart.run("retention", "expired_session")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr == (
        "kiqstart: there is no retention policy 'expired_session'; there are expired_sessions, completed_todos\n"
    )


async def test_a_policy_is_listed_and_run_by_a_worker(
    kiqstart_on_database: Kiqstart, engine: AsyncEngine, worker: ProcessFactory
) -> None:
    async with engine.begin() as connection:
        await connection.execute(text(ROWS))
        await connection.execute(
            text("INSERT INTO retention_undeletable (policy, key, error) VALUES ('expired_sessions', 'x', 'locked')")
        )
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await connection.execute(text("VACUUM ANALYZE refresh_sessions, todos"))
    kiqstart = partial(to_thread, kiqstart_on_database)
    listed = await kiqstart("retention", "list", "--json")
    sessions, todos = json.loads(listed.out)
    assert (sessions["policy"], sessions["table"], sessions["task"]) == (
        "expired_sessions", "refresh_sessions", "session.cleanup"
    )  # fmt: skip
    assert [one["name"] for one in sessions["schedules"]] == ["cleanup-sessions-daily"]
    assert (sessions["quarantined"], sessions["last_run"], sessions["last_success"]) == (1, None, None)
    assert "expires_at <" in sessions["predicate"]
    assert todos["backlog"] > 0
    with worker():
        tried = await kiqstart("retention", "run", "completed_todos", "--dry-run")
        assert (tried.code, tried.err) == (0, "")
        assert tried.out.startswith("completed_todos: would take 1,234 of about 2,000 rows, after ")
        done = await kiqstart("retention", "run", "completed_todos", "--json")
        found = json.loads(done.out)
        assert (done.code, found["result"]["report"]["deleted"]) == (0, 1234)
        assert differences(SHAPES[RUN_BY_A_WORKER], found) == []
        said = await kiqstart("retention", "run", "expired_sessions", "--days-old", "3")
        assert re.match(r"expired_sessions: [0-9] rows in [0-9]+ batches.*, stopped at: end, after ", said.out), said
    listed = await kiqstart("retention", "list", environment={"COLUMNS": "80"})
    assert "\n  last run 2" in listed.out
    assert ": 1,234 rows, 0 failed, end\n  last success 2" in listed.out
    acts = json.loads((await kiqstart("acts", "--json")).out)
    assert [one["act"] for one in acts] == ["run-task"] * 3


async def test_a_policy_that_nobody_runs_is_one_line(kiqstart_on_database: Kiqstart) -> None:
    done = await to_thread(kiqstart_on_database, "retention", "run", "expired_session")
    assert done.err.startswith("kiqstart: there is no retention policy 'expired_session'; there are expired_sessions")
    wrong = await to_thread(kiqstart_on_database, "retention", "run", "expired_sessions", "--days-old", "soon")
    assert (wrong.code, wrong.out) == (1, "")
    assert wrong.err.startswith("kiqstart: --days-old 'soon': ")


async def test_an_unmigrated_database_is_one_line(kiqstart_on_database: Kiqstart, engine: AsyncEngine) -> None:
    await service_database(engine).downgrade("base")
    try:
        done = await to_thread(kiqstart_on_database, "retention")
        check = await to_thread(kiqstart_on_database, "check")
    finally:
        await service_database(engine).upgrade()
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("kiqstart: the database's schema is at nothing")
    assert done.err.count("\n") == 1
    assert check.code == 1
    assert "FAILED  retention   retention policy 'expired_sessions': PostgreSQL has no table" in check.err
