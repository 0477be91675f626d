"""The fixtures: each test has an emptied database and Redis keys of its own, so tests run in any order and at once."""

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from functools import cache, partial
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest
import pytest_asyncio
from taskiq import TaskiqMessage

from kiqstart.app import App
from kiqstart.app_finder import find_app
from kiqstart.app_place import AppNotFoundError, needed_app_place
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.in_memory import DelayingInMemoryBroker
from kiqstart.redis.settings import IN_MEMORY_URL
from kiqstart.tasks.registry import BaseTasksRegistry
from kiqstart.testing.draining import drain as drain_queues
from kiqstart.testing.enqueued import Enqueued
from kiqstart.testing.processes import ProcessFactory, kiqstart_command
from kiqstart.testing.queues import queued_messages
from kiqstart.testing.servers import (
    Servers,
    delete_keys_of,
    own_database,
    running_servers,
)

_NOWHERE: Final = "postgresql+asyncpg://localhost/unconnected"
_SERVERS = pytest.StashKey[set[str]]()


@pytest.fixture(scope="session")
def servers(pytestconfig: pytest.Config) -> Generator[Servers]:
    """The servers of this session: those of DATABASE_URL and REDIS_URL, else the project's own under `.local/`."""
    with running_servers(pytestconfig.rootpath / ".local" / "test", postgres=_may_need_database()) as found:
        _used_servers(pytestconfig).update((found.database, found.redis) if found.postgres_url else (found.redis,))
        yield found


@pytest.fixture(scope="session")
def session_database_url(servers: Servers) -> Generator[str]:
    """A database with the schema of the application, shared by the tests of one process."""
    with own_database(servers.database_url) as url:
        asyncio.run(_migrate(_app_on(url)))
        yield url


@pytest.fixture(scope="session")
def _apps_to_empty() -> dict[str, App]:
    """By their places: to put an application together takes longer than to empty its tables."""
    return {}


@pytest.fixture
def database_url(session_database_url: str, _apps_to_empty: dict[str, App]) -> Generator[str]:
    """An empty database with the application's schema; its own tables are emptied again after the test."""
    place = needed_app_place()
    if place not in _apps_to_empty:
        _apps_to_empty[place] = _app_on(session_database_url)
    yield session_database_url
    asyncio.run(_empty(_apps_to_empty[place]))


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
    return partial(queued_messages, redis_url, f"{{{key_prefix}}}:tasks")


@pytest.fixture
def enqueued(queued_tasks: Callable[[], Awaitable[list[TaskiqMessage]]]) -> Enqueued:
    """Asserts that a task was sent, whichever queue it is in; see `Enqueued`."""
    return Enqueued(queued_tasks)


@pytest.fixture
def drain(app: App, redis_url: str) -> Callable[..., Awaitable[None]]:
    """Runs what is in the queues in the test's own process, until nothing is left, when it is called and awaited.

    Delayed tasks and further tries run at once. `timeout` is in seconds, 30 unless it is given.
    """

    async def run(*, timeout: float = 30.0) -> None:  # noqa: ASYNC109  # says what is left
        if isinstance(app.broker, StreamBroker):
            made = new_app()
            try:
                await drain_queues(made.broker, redis_url, timeout=timeout)
            finally:
                await made.close()
        else:
            await drain_queues(app.broker, redis_url, timeout=timeout)

    return run


@pytest.fixture
def app_environment(redis_url: str, key_prefix: str, request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment variables with which a process works on the test's Redis keys and its database."""
    environment = {"REDIS_URL": redis_url, "TASKS_KEY_PREFIX": key_prefix, "TASKS_RESULT_TTL": "600"}
    if _has_database(needed_app_place()):
        environment["DATABASE_URL"] = request.getfixturevalue("database_url")
    return environment


@pytest_asyncio.fixture
async def app(app_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[App]:
    """The application on the test's Redis keys and database, its broker started."""
    made = _app_in(app_environment, monkeypatch)
    if isinstance(made.broker, StreamBroker) and app_environment["TASKS_KEY_PREFIX"] not in made.broker.queue_name:
        pytest.fail("this application's broker does not follow TASKS_KEY_PREFIX: make it with `create_broker`")
    async with _started(made):
        yield made


@pytest.fixture
def inline_environment(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment variables of `inline_app`."""
    # Not in the async fixture: what it asks for runs event loops of its own.
    environment = {"REDIS_URL": IN_MEMORY_URL}
    if _has_database(needed_app_place()):
        environment["DATABASE_URL"] = request.getfixturevalue("database_url")
    return environment


@pytest_asyncio.fixture
async def inline_app(inline_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[App]:
    """The application without Redis: a task has run, with all of its tries, when its send returns."""
    made = _app_in(inline_environment, monkeypatch)
    if not isinstance(made.broker, DelayingInMemoryBroker):
        pytest.fail("this application's broker does not follow REDIS_URL: make it with `create_broker`")
    made.broker.await_inplace, made.broker.delays = True, False
    async with _started(made):
        yield made


@pytest.fixture
def inline(inline_app: App) -> BaseTasksRegistry:
    """The tasks, each of which has run when its send returns; neither Redis nor a worker is needed."""
    return _registry_of(inline_app)


@pytest.fixture
def registry(app: App) -> BaseTasksRegistry:
    """The tasks, to be sent to the workers that the test starts."""
    return _registry_of(app)


@pytest.fixture
def worker(app_environment: dict[str, str], tmp_path: Path) -> ProcessFactory:
    """Start real workers in `with` statements, each of one process unless `"--workers", "2"` is passed."""
    return ProcessFactory(
        command=kiqstart_command("worker"),
        environment=app_environment,
        ready="Listening started.",
        log_folder=tmp_path,
    )


@pytest.fixture
def scheduler(app_environment: dict[str, str], tmp_path: Path) -> ProcessFactory:
    """A factory of real schedulers, to be used in a `with` statement."""
    return ProcessFactory(
        command=kiqstart_command("scheduler"),
        environment=app_environment,
        ready="Startup completed.",
        log_folder=tmp_path,
    )


def _app_in(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> App:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return new_app()


@asynccontextmanager
async def _started(app: App) -> AsyncGenerator[None]:
    await app.broker.startup()
    yield
    await app.broker.shutdown()
    await app.close()


def _registry_of(app: App) -> BaseTasksRegistry:
    if app.registry is None:
        pytest.fail("this application has no registry: send its tasks by `app.broker`")
    return app.registry


def new_app() -> App:
    """Put the application together anew, with the settings of the environment as it is now.

    Raises:
        AppNotFoundError: its place names an object instead of a function that makes it, so a test cannot have its own.
    """
    first, second = find_app(), find_app()
    if first is second or first.broker is second.broker:
        raise AppNotFoundError(
            f"{needed_app_place()} is one application for all tests: name a function that makes it, so "
            "that each test has one on Redis keys of its own"
        )
    return first


def _unconnected_app() -> App:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDIS_URL", IN_MEMORY_URL)
        if "DATABASE_URL" not in os.environ:
            # Only the application says whether a database is to be started, and many ask for an address first.
            patch.setenv("DATABASE_URL", _NOWHERE)
        return find_app()


@cache
def _has_database(_place: str) -> bool:
    return _unconnected_app().database is not None


def _may_need_database() -> bool:
    try:
        return _has_database(needed_app_place())
    except AppNotFoundError:
        return True  # Who has no application may ask for the servers all the same.


def _app_on(url: str) -> App:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", url)
        return _unconnected_app()


async def _migrate(app: App) -> None:
    try:
        await app.migrate()
    finally:
        await app.close()


async def _empty(app: App) -> None:
    try:
        if app.database is not None:
            await app.database.empty()
        if app.retention is not None:
            await app.retention.engine.forget_runs()
    finally:
        # Its connections are this event loop's.
        await app.close()


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
