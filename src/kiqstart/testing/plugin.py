"""The fixtures: each test has an emptied database and Redis keys of its own, so tests run in any order and at once."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from aioinject import Object
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from taskiq import TaskiqMessage

from kiqstart.redis.settings import IN_MEMORY_URL, RedisSettings
from kiqstart.testing.processes import ProcessFactory, taskiq_command
from kiqstart.testing.queues import queued_messages
from kiqstart.testing.servers import (
    Servers,
    database_settings,
    delete_keys_of,
    empty_tables,
    migrated_database,
    running_servers,
)
from todo_service.delivery.tasks.registry import TasksRegistry
from todo_service.delivery.tasks.settings import TasksSettings
from todo_service.infrastructure.database.engine import create_engine, create_session_factory
from todo_service.infrastructure.database.settings import DatabaseSettings
from todo_service.ioc.container import ContainerFactory, ServiceContainer

_SERVERS = pytest.StashKey[set[str]]()


@pytest.fixture(scope="session")
def servers(pytestconfig: pytest.Config) -> Generator[Servers]:
    """The servers of this session: those of DATABASE_URL and REDIS_URL, else the project's own under `.local/`."""
    with running_servers(pytestconfig.rootpath / ".local" / "test") as found:
        _used_servers(pytestconfig).update((found.database, found.redis))
        yield found


@pytest.fixture(scope="session")
def session_database_url(servers: Servers) -> Generator[str]:
    """A database with this version's schema, shared by the tests of one process."""
    with migrated_database(servers.database_url) as url:
        yield url


@pytest.fixture
def database_url(session_database_url: str) -> Generator[str]:
    """An empty database with this version's schema; it is emptied again after the test."""
    yield session_database_url
    asyncio.run(empty_tables(session_database_url))


@pytest.fixture
def redis_url(servers: Servers) -> str:
    """The Redis. Tests share it, each with a `key_prefix` of its own."""
    if servers.redis_url is None:
        pytest.fail(f"this test needs a Redis: {servers.redis}")
    return servers.redis_url


@pytest.fixture
def key_prefix(redis_url: str) -> Generator[str]:
    """What all keys of this test begin with; they are deleted after it."""
    prefix = f"kiqstart-test-{uuid4().hex[:12]}"
    yield prefix
    asyncio.run(delete_keys_of(redis_url, prefix))


@pytest.fixture
def queued_tasks(redis_url: str, key_prefix: str) -> Callable[[], Awaitable[list[TaskiqMessage]]]:
    """Tells, when awaited, which tasks are in all queues: those that wait or run, oldest first, then the delayed."""
    return partial(queued_messages, redis_url, TasksSettings(key_prefix=key_prefix).queue)


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
def service_environment(database_url: str, redis_url: str, key_prefix: str) -> dict[str, str]:
    """The environment variables with which a process works on the test's database and keys."""
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "TASKS_KEY_PREFIX": key_prefix,
        "TASKS_RESULT_TTL": "600",
    }


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
def worker(service_environment: dict[str, str], tmp_path: Path) -> ProcessFactory:
    """Start real workers in `with` statements, each of one process unless `"--workers", "2"` is passed."""
    return ProcessFactory(
        command=taskiq_command("worker", "todo_service.delivery.tasks.app:broker", "--workers", "1"),
        environment=service_environment,
        ready="Listening started.",
        log_folder=tmp_path,
    )


@pytest.fixture
def scheduler(service_environment: dict[str, str], tmp_path: Path) -> ProcessFactory:
    """A factory of real schedulers, to be used in a `with` statement."""
    return ProcessFactory(
        command=taskiq_command("scheduler", "todo_service.delivery.tasks.app:scheduler"),
        environment=service_environment,
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


def _used_servers(config: pytest.Config) -> set[str]:
    return config.stash.setdefault(_SERVERS, set[str]())


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let a parallel worker of pytest-xdist tell the session which servers it used."""
    output: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["kiqstart_servers"] = sorted(_used_servers(session.config))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Take what a parallel worker tells."""
    output: dict[str, list[str]] = getattr(node, "workeroutput", {})
    config: pytest.Config = vars(node)["config"]
    _used_servers(config).update(output.get("kiqstart_servers", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which servers the tests have talked to."""
    for server in sorted(_used_servers(config)):
        terminalreporter.write_line(f"tested with {server}")
