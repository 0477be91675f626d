"""Fixtures for the tests of the service: its container, sessions on its database, and taskiq's own commands."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from aioinject import Object
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from tests.fork_server.client import ForkingFactory, forking
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.broker.settings import TasksSettings
from kiqstart.redis.settings import IN_MEMORY_URL, RedisSettings
from kiqstart.retention.engine import RetentionEngine
from kiqstart.testing.processes import ProcessFactory, taskiq_command
from kiqstart.testing.servers import own_database
from todo_service.core.session.repository import RefreshSessionRepository
from todo_service.core.session.service import RefreshSessionService
from todo_service.core.todo.repository import TodoRepository
from todo_service.core.todo.service import TodoService
from todo_service.core.user.repository import UserRepository
from todo_service.core.user.service import UserService
from todo_service.delivery.tasks.registry import TasksRegistry
from todo_service.infrastructure.database.database import service_database
from todo_service.infrastructure.database.engine import create_engine, create_session_factory
from todo_service.infrastructure.database.settings import DatabaseSettings
from todo_service.ioc.container import ContainerFactory, ServiceContainer


def database_settings(url: str) -> DatabaseSettings:
    """Settings with that URL, whatever the environment says."""
    return DatabaseSettings(database_url=SecretStr(url))


@contextmanager
def migrated_database(server_url: str) -> Generator[str]:
    """Create a database with the service's schema, give its URL, and drop it at the end."""

    async def migrate(url: str) -> None:
        database = service_database(create_engine(database_settings(url)))
        await database.upgrade()
        await database.close()

    with own_database(server_url) as url:
        asyncio.run(migrate(url))
        yield url


@pytest_asyncio.fixture
async def engine(database_url: str) -> AsyncGenerator[AsyncEngine]:
    """A connection pool on the test's database."""
    pool = create_engine(database_settings(database_url))
    yield pool
    await pool.dispose()


@pytest.fixture
def session_factory(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    """Sessions on the test's database."""
    return create_session_factory(engine)


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


@pytest.fixture
def service_environment(app_environment: dict[str, str]) -> dict[str, str]:
    """The environment variables with which a process works on the test's database and keys."""
    return app_environment


@pytest_asyncio.fixture
async def container(database_url: str, redis_url: str, key_prefix: str) -> AsyncGenerator[ServiceContainer]:
    """The service's container on the test's database and keys."""
    made = _container(database_url, redis_url, key_prefix)
    yield made
    await made.resolve(AsyncEngine).dispose()


@pytest_asyncio.fixture
async def registry(container: ServiceContainer) -> AsyncGenerator[TasksRegistry]:
    """The tasks, to be sent to the workers that the test starts."""
    async with container.running() as tasks:
        yield tasks


@pytest_asyncio.fixture
async def in_memory_registry(database_url: str) -> AsyncGenerator[TasksRegistry]:
    """The tasks, run in the test's own process by taskiq's `InMemoryBroker`: no Redis, no worker."""
    async with _container(database_url, IN_MEMORY_URL, "in-memory").running() as tasks:
        yield tasks


@pytest.fixture
def worker(worker: ProcessFactory) -> ForkingFactory:
    return forking(worker)


@pytest.fixture
def scheduler(scheduler: ProcessFactory) -> ForkingFactory:
    return forking(scheduler)


@pytest.fixture
def taskiq_worker(app_environment: dict[str, str], tmp_path: Path) -> ProcessFactory:
    """Start real workers with taskiq's command, each of one process unless `"--workers", "2"` is passed."""
    return ForkingFactory(
        command=taskiq_command("worker", "todo_service.delivery.tasks.app:broker", "--workers", "1"),
        environment=app_environment,
        ready="Listening started.",
        log_folder=tmp_path,
    )


@pytest.fixture
def taskiq_scheduler(app_environment: dict[str, str], tmp_path: Path) -> ProcessFactory:
    """A factory of real schedulers, with taskiq's command."""
    return ForkingFactory(
        command=taskiq_command("scheduler", "todo_service.delivery.tasks.app:scheduler"),
        environment=app_environment,
        ready="Startup completed.",
        log_folder=tmp_path,
    )


def _container(database_url: str, redis_url: str, key_prefix: str) -> ServiceContainer:
    return ContainerFactory(
        overrides=[
            Object(database_settings(database_url), interface=DatabaseSettings),
            Object(RedisSettings(redis_url=SecretStr(redis_url)), interface=RedisSettings),
            Object(TasksSettings(key_prefix=key_prefix), interface=TasksSettings),
        ]
    )()
