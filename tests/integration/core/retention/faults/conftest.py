import os
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import ExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from tests.integration.core.retention.faults.engines import quick_settings, retention_engine
from tests.integration.core.retention.faults.tables import TestedBase
from tests.integration.core.retention.faults.worker import Task

from kiqstart.core.retention.engine import RetentionEngine
from kiqstart.testing import ProcessFactory, ServiceProcess

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
        command=[sys.executable, "-m", "tests.integration.core.retention.faults.worker"],
        environment={"PYTHONPATH": os.pathsep.join(folders)},
        ready="",
        log_folder=tmp_path,
    )
    with ExitStack() as processes:

        def start(task: Task) -> ServiceProcess:
            process = factory.start(task.model_dump_json())
            processes.callback(process.kill)
            return process

        yield start
