"""Workers of these tests have a role of PostgreSQL with the least rights, where the tests themselves may do all."""

import asyncio
from collections.abc import Generator
from dataclasses import replace
from uuid import uuid4

import pytest
from sqlalchemy import make_url, text
from tests.service import database_settings

from kiqstart.testing import ProcessFactory
from todo_service.delivery.tasks.rights import WORKER_RIGHTS
from todo_service.infrastructure.database.database import service_database
from todo_service.infrastructure.database.engine import create_engine


async def execute(url: str, *statements: str) -> None:
    engine = create_engine(database_settings(url))
    try:
        async with engine.begin() as connection:
            for statement in statements:
                await connection.execute(text(statement))
    finally:
        await engine.dispose()


async def give_rights(url: str, role: str) -> None:
    engine = create_engine(database_settings(url))
    await service_database(engine, WORKER_RIGHTS).grant(role)
    await engine.dispose()


@pytest.fixture(scope="session")
def worker_role(session_database_url: str) -> Generator[str]:
    name = f"kiqstart_worker_{uuid4().hex[:12]}"
    made = f"CREATE ROLE {name} LOGIN PASSWORD '{name}' NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT"
    asyncio.run(execute(session_database_url, "REVOKE ALL ON SCHEMA public FROM PUBLIC", made))
    yield name
    asyncio.run(execute(session_database_url, f"DROP OWNED BY {name}", f"DROP ROLE {name}"))


@pytest.fixture
def worker_url(database_url: str, worker_role: str) -> str:
    """The test's database, as a worker is to reach it."""
    # Anew, since a test may have taken the tables away and made them again.
    asyncio.run(give_rights(database_url, worker_role))
    url = make_url(database_url).set(username=worker_role, password=worker_role)
    return url.render_as_string(hide_password=False)


@pytest.fixture
def worker(worker: ProcessFactory, worker_url: str) -> ProcessFactory:
    return replace(worker, environment={**worker.environment, "DATABASE_URL": worker_url})


@pytest.fixture
def taskiq_worker(taskiq_worker: ProcessFactory, worker_url: str) -> ProcessFactory:
    return replace(taskiq_worker, environment={**taskiq_worker.environment, "DATABASE_URL": worker_url})
