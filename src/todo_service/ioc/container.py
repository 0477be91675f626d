"""The container: the only place that knows every room.

A script:

    container = ContainerFactory()()
    async with container.running() as registry:
        task = await registry.todo_cleanup.kiq()
        print(await task.wait_result(timeout=30))

An async web app enters `container.running()` in its lifespan and resolves `TasksRegistry` where it handles requests.
A test puts its own parts in place of the service's:

    container = ContainerFactory(overrides=[Object(FakeTodoService(), interface=TodoService)])()
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from aioinject import Object, Singleton, SyncContainer
from pydantic_settings import BaseSettings
from sqlalchemy.ext.asyncio import AsyncEngine
from taskiq import AsyncBroker, TaskiqScheduler

from kiqstart import AlembicDatabase, Controller, LogSettings, ShutdownSignal, load_settings, source_file
from kiqstart.broker import RedisSettings, TasksSettings
from kiqstart.retention import LoadCheck, PostgresLoad, RetentionEngine, RetentionSettings
from kiqstart.scheduler import StaticSchedules
from todo_service.core.session.repository import RefreshSessionRepository
from todo_service.core.session.service import RefreshSessionService
from todo_service.core.todo.repository import TodoRepository
from todo_service.core.todo.service import TodoService
from todo_service.core.user.repository import UserRepository
from todo_service.core.user.service import UserService
from todo_service.delivery.tasks.cleanups import CleanupRunner
from todo_service.delivery.tasks.controllers.ping import PingTaskController
from todo_service.delivery.tasks.controllers.session_cleanup import SessionCleanupTaskController
from todo_service.delivery.tasks.controllers.todo_cleanup import TodoCleanupTaskController
from todo_service.delivery.tasks.factories import BrokerFactory, SchedulerFactory, TasksRegistryFactory
from todo_service.delivery.tasks.policies import retention_policies
from todo_service.delivery.tasks.registry import TasksRegistry
from todo_service.delivery.tasks.rights import WORKER_RIGHTS
from todo_service.delivery.tasks.schedules import SCHEDULES
from todo_service.infrastructure.database.database import service_database
from todo_service.infrastructure.database.engine import create_engine, create_session_factory
from todo_service.infrastructure.database.settings import DatabaseSettings
from todo_service.ioc.wiring import Line, check_lines, interface_of

T = TypeVar("T")


class ServiceContainer(SyncContainer):
    """aioinject's container, with one instance of each part and a start and an end."""

    def resolve(self, type_: type[T], /) -> T:
        """Give the part of that type, with all that it depends on."""
        return self.root.resolve(type_)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[TasksRegistry]:
        """Start the broker, hand out the registry to send tasks with, and let all connections go at the end."""
        registry = self.resolve(TasksRegistry)
        await registry.broker.startup()
        try:
            yield registry
        finally:
            await registry.broker.shutdown()


class ContainerFactory:
    """Builds a container.

    Args:
        overrides: providers that take the place of those with the same interface.
    """

    def __init__(self, overrides: Sequence[Line] = ()) -> None:
        self._overrides = overrides

    def __call__(self) -> ServiceContainer:
        """Build it; settings are read when a part that needs them is resolved.

        Raises:
            WiringError: a part that stands there twice, or depends on one that does not.
        """
        replaced = {interface_of(line) for line in self._overrides}
        lines = [*(line for line in _lines() if interface_of(line) not in replaced), *self._overrides]
        check_lines(lines, source_file(_lines))
        container = ServiceContainer()
        container.register(*lines)
        return container


def _settings(settings: type[BaseSettings]) -> Singleton[Any]:
    return Singleton(partial(load_settings, settings), interface=settings)


def _lines() -> list[Line]:
    return [
        _settings(DatabaseSettings),
        _settings(RedisSettings),
        _settings(TasksSettings),
        _settings(LogSettings),
        _settings(RetentionSettings),
        Singleton(create_engine),
        Singleton(create_session_factory),
        Singleton(_database),
        Singleton(PostgresLoad, interface=LoadCheck),
        Singleton(RetentionEngine),
        Singleton(UserRepository),
        Singleton(UserService),
        Singleton(RefreshSessionRepository),
        Singleton(RefreshSessionService),
        Singleton(TodoRepository),
        Singleton(TodoService),
        Singleton(retention_policies),
        Singleton(ShutdownSignal),
        Singleton(CleanupRunner),
        Singleton(PingTaskController, interface=Controller),
        Singleton(SessionCleanupTaskController, interface=Controller),
        Singleton(TodoCleanupTaskController, interface=Controller),
        Object(SCHEDULES, interface=StaticSchedules),
        Singleton(BrokerFactory),
        Singleton(_broker),
        Singleton(TasksRegistryFactory),
        Singleton(_registry),
        Singleton(SchedulerFactory),
        Singleton(_scheduler),
    ]


def _database(engine: AsyncEngine) -> AlembicDatabase:
    return service_database(engine, WORKER_RIGHTS)


def _broker(factory: BrokerFactory) -> AsyncBroker:
    return factory()


def _registry(factory: TasksRegistryFactory) -> TasksRegistry:
    return factory()


def _scheduler(factory: SchedulerFactory) -> TaskiqScheduler:
    return factory()
