import pytest
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.retention.engine import RetentionEngine
from todo_service.core.session.repository import RefreshSessionRepository
from todo_service.core.session.service import RefreshSessionService
from todo_service.core.todo.repository import TodoRepository
from todo_service.core.todo.service import TodoService
from todo_service.core.user.repository import UserRepository
from todo_service.core.user.service import UserService


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
