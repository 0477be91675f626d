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
from taskiq import AsyncBroker, TaskiqScheduler

from kiqstart.core.retention.engine import RetentionEngine
from kiqstart.core.retention.load import LoadCheck, PostgresLoad
from kiqstart.core.retention.settings import RetentionSettings
from kiqstart.core.session.repository import RefreshSessionRepository
from kiqstart.core.session.service import RefreshSessionService
from kiqstart.core.todo.repository import TodoRepository
from kiqstart.core.todo.service import TodoService
from kiqstart.core.user.repository import UserRepository
from kiqstart.core.user.service import UserService
from kiqstart.delivery.tasks.cleanups import CleanupRunner
from kiqstart.delivery.tasks.controllers.ping import PingTaskController
from kiqstart.delivery.tasks.controllers.session_cleanup import SessionCleanupTaskController
from kiqstart.delivery.tasks.controllers.todo_cleanup import TodoCleanupTaskController
from kiqstart.delivery.tasks.factories import BrokerFactory, SchedulerFactory, TasksRegistryFactory
from kiqstart.delivery.tasks.policies import RetentionPolicies
from kiqstart.delivery.tasks.registry import TasksRegistry
from kiqstart.delivery.tasks.schedules import SCHEDULES
from kiqstart.delivery.tasks.settings import TasksSettings
from kiqstart.infrastructure.controller import Controller
from kiqstart.infrastructure.database.engine import create_engine, create_session_factory
from kiqstart.infrastructure.database.settings import DatabaseSettings
from kiqstart.infrastructure.observability.logging import LogSettings
from kiqstart.infrastructure.redis.settings import RedisSettings
from kiqstart.infrastructure.settings import load_settings
from kiqstart.infrastructure.taskiq.errors import source_file
from kiqstart.infrastructure.taskiq.scheduling.table import ScheduleTable
from kiqstart.infrastructure.taskiq.shutdown import ShutdownSignal
from kiqstart.ioc.wiring import Line, check_lines, interface_of

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
        Singleton(PostgresLoad, interface=LoadCheck),
        Singleton(RetentionEngine),
        Singleton(UserRepository),
        Singleton(UserService),
        Singleton(RefreshSessionRepository),
        Singleton(RefreshSessionService),
        Singleton(TodoRepository),
        Singleton(TodoService),
        Singleton(RetentionPolicies),
        Singleton(ShutdownSignal),
        Singleton(CleanupRunner),
        Singleton(PingTaskController, interface=Controller),
        Singleton(SessionCleanupTaskController, interface=Controller),
        Singleton(TodoCleanupTaskController, interface=Controller),
        Object(SCHEDULES, interface=ScheduleTable),
        Singleton(BrokerFactory),
        Singleton(_broker),
        Singleton(TasksRegistryFactory),
        Singleton(_registry),
        Singleton(SchedulerFactory),
        Singleton(_scheduler),
    ]


def _broker(factory: BrokerFactory) -> AsyncBroker:
    return factory()


def _registry(factory: TasksRegistryFactory) -> TasksRegistry:
    return factory()


def _scheduler(factory: SchedulerFactory) -> TaskiqScheduler:
    return factory()
