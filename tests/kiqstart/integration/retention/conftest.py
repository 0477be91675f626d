from collections.abc import AsyncGenerator
from time import monotonic

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from tests.kiqstart.integration.retention.database import Database
from tests.kiqstart.integration.retention.tables import Tables
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.retention.engine import RetentionEngine
from kiqstart.retention.load import LoadCheck
from todo_service.core.user.models import User
from todo_service.core.user.service import UserService


class Clock:
    """What a run's time budget is measured by: it can be put forward, so that no machine is too slow for a test."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("kiqstart.retention.shard_runner.monotonic", made)
    return made


class QuickEngines(EngineFactory):
    """Makes engines that do not rest beside the other tests, unless they are told to."""

    def __call__(self, *, load: LoadCheck | None = None, **settings: float | str) -> RetentionEngine:
        return super().__call__(load=load, **{"pace": "full", **settings})


@pytest.fixture
def make_retention(session_factory: async_sessionmaker[AsyncSession]) -> EngineFactory:
    return QuickEngines(session_factory)


@pytest_asyncio.fixture
async def user(users: UserService) -> User:
    return await users.create(username="ada", email="")


@pytest_asyncio.fixture
async def database(engine: AsyncEngine) -> AsyncGenerator[Database]:
    """The test's database in plain SQL; what the test adds to the schema is dropped after it."""
    made = Database(engine)
    yield made
    await made.execute(*made.drop_after)
    async with engine.begin() as connection:
        await connection.run_sync(Tables.metadata.drop_all, tables=made.created)


@pytest_asyncio.fixture
async def expired(database: Database, user: User) -> None:
    """500 sessions that expired a second apart, and 100 that did not."""
    await database.execute(
        f"""
        INSERT INTO refresh_sessions (user_id, refresh_token_hash, created_at, expires_at)
        SELECT {user.id}, sha256(n::text::bytea), now() - interval '1 year', now() + (n - 500.5) * interval '1 second'
        FROM generate_series(1, 500) n
        """,  # noqa: S608 - the test's own
        f"""
        INSERT INTO refresh_sessions (user_id, refresh_token_hash, expires_at)
        SELECT {user.id}, sha256(n::text::bytea), now() + interval '1 day' FROM generate_series(501, 600) n
        """,  # noqa: S608 - the test's own
    )


@pytest_asyncio.fixture
async def completed(database: Database, user: User) -> None:
    """1,000 todos on several pages, every second one completed."""
    await database.execute(
        f"""
        INSERT INTO todos (user_id, title, is_completed, completed_at)
        SELECT {user.id}, 'todo ' || n, n % 2 = 0, CASE WHEN n % 2 = 0 THEN now() END FROM generate_series(1, 1000) n
        """,  # noqa: S608 - the test's own
        "ANALYZE todos",
    )


@pytest.fixture
def every_batch_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Call a run's progress callback after each batch, not ten times a second."""
    monkeypatch.setattr("kiqstart.retention.progress._SECONDS_BETWEEN", 0.0)
