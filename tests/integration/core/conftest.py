import pytest
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from tests.integration.core.engines import EngineFactory

from kiqstart.core.retention.engine import RetentionEngine
from kiqstart.core.session.repository import RefreshSessionRepository
from kiqstart.core.session.service import RefreshSessionService
from kiqstart.core.todo.repository import TodoRepository
from kiqstart.core.todo.service import TodoService
from kiqstart.core.user.repository import UserRepository
from kiqstart.core.user.service import UserService


@pytest.fixture
def make_retention(session_factory: async_sessionmaker[AsyncSession]) -> EngineFactory:
    return EngineFactory(session_factory)


@pytest.fixture
def retention(make_retention: EngineFactory) -> RetentionEngine:
    return make_retention()


@pytest.fixture
def users(session_factory: async_sessionmaker[AsyncSession]) -> UserService:
    return UserService(_sessions=session_factory, _users=UserRepository())


@pytest.fixture
def sessions(session_factory: async_sessionmaker[AsyncSession], retention: RetentionEngine) -> RefreshSessionService:
    return RefreshSessionService(
        _sessions=session_factory,
        _refresh_sessions=RefreshSessionRepository(),
        _users=UserRepository(),
        _retention=retention,
    )


@pytest.fixture
def todos(session_factory: async_sessionmaker[AsyncSession], retention: RetentionEngine) -> TodoService:
    return TodoService(
        _sessions=session_factory, _todos=TodoRepository(), _users=UserRepository(), _retention=retention
    )
