import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import ExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from tests.kiqstart.integration.retention.faults.engines import quick_settings, retention_engine
from tests.kiqstart.integration.retention.faults.private_server import PrivateServer, private_server
from tests.kiqstart.integration.retention.faults.tables import TestedBase
from tests.kiqstart.integration.retention.faults.worker import Task
from tests.service import database_settings

from kiqstart.retention.engine import RetentionEngine
from kiqstart.retention.models import RetentionRun
from kiqstart.testing import ProcessFactory, ServiceProcess
from todo_service.infrastructure.database.database import service_database
from todo_service.infrastructure.database.engine import create_engine

MakeRetention = Callable[..., RetentionEngine]
StartWorker = Callable[[Task], ServiceProcess]


@pytest_asyncio.fixture
async def tables(engine: AsyncEngine) -> AsyncGenerator[AsyncEngine]:
    """The tested tables, empty; the pool that made them."""
    async with engine.begin() as connection:
        await connection.run_sync(TestedBase.metadata.create_all)
    yield engine
    async with engine.begin() as connection:
        await connection.run_sync(TestedBase.metadata.drop_all)


@pytest.fixture
def make_retention(session_factory: async_sessionmaker[AsyncSession]) -> MakeRetention:
    """Make an engine on the test's database, with settings beside those of `quick_settings`."""

    def make(**settings: float) -> RetentionEngine:
        return retention_engine(session_factory, quick_settings(**settings))

    return make


@pytest.fixture
def start_worker(pytestconfig: pytest.Config, tmp_path: Path) -> Generator[StartWorker]:
    """Start processes that run the engine; they are killed after the test."""
    folders = [str(pytestconfig.rootpath), *filter(None, [os.environ.get("PYTHONPATH")])]
    factory = ProcessFactory(
        command=[sys.executable, "-m", "tests.kiqstart.integration.retention.faults.worker"],
        environment={"PYTHONPATH": os.pathsep.join(folders)},
        ready="",
        log_folder=tmp_path,
    )
    with ExitStack() as processes:

        def start(task: Task) -> ServiceProcess:
            url = database_settings(task.url).parsed_url().url.render_as_string(hide_password=False)
            process = factory.start(task.model_copy(update={"url": url}).model_dump_json())
            processes.callback(process.kill)
            return process

        yield start


@pytest.fixture(scope="session")
def stoppable_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[PrivateServer]:
    """A server with this version's schema and the tested tables."""
    with private_server(tmp_path_factory.mktemp("private") / "postgres") as server:
        asyncio.run(_make_tables(server.url))
        yield server


@pytest_asyncio.fixture
async def private_pool(stoppable_server: PrivateServer) -> AsyncGenerator[AsyncEngine]:
    """A pool on a server that the test may stop, with empty tables."""
    pool = create_engine(database_settings(stoppable_server.url))
    async with pool.begin() as connection:
        tables = ", ".join((*TestedBase.metadata.tables, RetentionRun.__tablename__))
        await connection.execute(text(f"TRUNCATE {tables}"))
    yield pool
    await pool.dispose()


async def _make_tables(url: str) -> None:
    pool = create_engine(database_settings(url))
    await service_database(pool).upgrade()
    async with pool.begin() as connection:
        await connection.run_sync(TestedBase.metadata.create_all)
    await pool.dispose()
