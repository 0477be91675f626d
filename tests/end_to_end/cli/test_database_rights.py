"""A worker's role is refused what it does not need, and says what it misses.

That it does its work with the rest is what the other tests show: their workers have such a role.
"""

import asyncio

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import ProgrammingError
from tests.end_to_end.cli.in_process import Kiqstart
from tests.end_to_end.conftest import execute
from tests.service import database_settings

from kiqstart.testing import ProcessFactory
from todo_service.infrastructure.database.engine import create_engine

REFUSED = [
    "INSERT INTO users (username, email) VALUES ('a', 'b@c')",
    "DELETE FROM users",
    "UPDATE todos SET title = 'x'",
    "UPDATE refresh_sessions SET revoked_at = now()",
    "INSERT INTO refresh_sessions (user_id, refresh_token_hash, expires_at) VALUES (1, '', now())",
    "UPDATE alembic_version SET version_num = 'x'",
    "TRUNCATE todos",
    "CREATE TABLE more (n integer)",
    "DROP TABLE todos",
    "CREATE ROLE more",
    "SELECT pg_read_file('/etc/passwd')",
    "COPY todos TO PROGRAM 'true'",
]


@pytest.fixture
def poor_url(database_url: str, worker_role: str) -> str:
    """Of a role that may connect, and nothing else."""
    asyncio.run(execute(database_url, f"DROP OWNED BY {worker_role}"))
    return make_url(database_url).set(username=worker_role, password=worker_role).render_as_string(hide_password=False)


async def test_a_workers_role_is_refused_all_that_it_does_not_need(worker_url: str) -> None:
    engine = create_engine(database_settings(worker_url))
    for statement in REFUSED:
        async with engine.connect() as connection:
            with pytest.raises(ProgrammingError, match=r"permission denied|must be|denied"):
                await connection.execute(text(statement))
    await engine.dispose()


def test_too_few_rights_are_one_line_with_what_to_grant(
    kiqstart_on_database: Kiqstart, poor_url: str, database_url: str, worker_role: str
) -> None:
    poor = {"DATABASE_URL": poor_url}
    for command in ("retention", "check", "migrate"):
        done = kiqstart_on_database(command, environment=poor)
        assert done.code == 1
        assert "Traceback" not in done.err
    assert f"`GRANT USAGE ON SCHEMA public TO {worker_role}`" in kiqstart_on_database("check", environment=poor).err
    asyncio.run(execute(database_url, f"GRANT USAGE ON SCHEMA public TO {worker_role}"))
    asyncio.run(execute(database_url, f"GRANT SELECT ON alembic_version, todos TO {worker_role}"))
    done = kiqstart_on_database("retention", environment=poor)
    grants = (
        f"GRANT SELECT ON users TO {worker_role}",
        f"GRANT SELECT, DELETE, UPDATE (id) ON refresh_sessions TO {worker_role}",
        f"GRANT DELETE, UPDATE (id) ON todos TO {worker_role}",
        f"GRANT SELECT ON retention_version TO {worker_role}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON retention_runs TO {worker_role}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON retention_undeletable TO {worker_role}",
    )
    assert done.err == f"kiqstart: the role lacks rights: run `{'; '.join(grants)}` as the tables' owner\n"
    granted = kiqstart_on_database("migrate", "--worker-role", worker_role)
    assert granted.out.endswith(f"The role {worker_role} may do what a worker needs.\n")
    done = kiqstart_on_database("retention", environment=poor)
    assert (done.code, done.err) == (0, "")
    nobody = kiqstart_on_database("migrate", "--worker-role", 'no"body')
    assert (nobody.code, nobody.err.count("\n")) == (1, 1)
    assert "does not exist" in nobody.err


def test_a_worker_with_too_few_rights_does_not_start(worker: ProcessFactory, poor_url: str) -> None:
    process = worker.start(environment={"DATABASE_URL": poor_url})
    assert process.wait() != 0
    lines = [line for line in process.log.splitlines() if line.startswith("kiqstart: ")]
    assert len(lines) == 1, process.log
    assert "GRANT USAGE ON SCHEMA public" in lines[0]
    assert "Traceback" not in process.log
