from collections.abc import AsyncGenerator, Callable

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from tests.integration.core.retention.faults.engines import quick_settings, retention_engine
from tests.integration.core.retention.faults.tables import TestedBase

from kiqstart.core.retention.engine import RetentionEngine

MakeRetention = Callable[..., RetentionEngine]


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
