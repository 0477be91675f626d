import re
from asyncio import to_thread

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.end_to_end.cli.command_line import CommandLine
from tests.end_to_end.cli.in_process import Kiqstart

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
