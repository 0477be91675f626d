"""Builds the broker, the registry with its tasks, and the scheduler."""

from dataclasses import dataclass

from taskiq import AsyncBroker, TaskiqScheduler

from kiqstart import AlembicDatabase, Controller, ShutdownSignal
from kiqstart.broker import RedisSettings, TasksSettings, check_at_start, close_at_end, create_broker
from kiqstart.retention import RetentionPolicies
from kiqstart.scheduler import DurableScheduleSource, StaticSchedules, check_schedules
from todo_service.delivery.tasks.names import TaskName
from todo_service.delivery.tasks.registry import TasksRegistry


@dataclass(frozen=True, kw_only=True)
class BrokerFactory:
    """Gives the broker that `REDIS_URL` asks for, not yet started and without tasks.

    Where tasks run, its start also checks PostgreSQL, its schema and the retention policies.
    """

    _redis_settings: RedisSettings
    _tasks_settings: TasksSettings
    _database: AlembicDatabase
    _policies: RetentionPolicies
    _shutdown: ShutdownSignal

    def __call__(self) -> AsyncBroker:
        """Build the broker."""
        broker = create_broker(self._redis_settings, self._tasks_settings)
        check_at_start(broker, self._check)
        close_at_end(broker, self._database.close)
        self._shutdown.follow(broker)
        return broker

    async def _check(self) -> None:
        await self._database.check()
        await self._policies.check()


@dataclass(frozen=True, kw_only=True)
class TasksRegistryFactory:
    """Registers every controller on the broker and checks that tasks, names and schedules fit together."""

    _broker: AsyncBroker
    _controllers: list[Controller]
    _schedules: StaticSchedules

    def __call__(self) -> TasksRegistry:
        """Build the registry.

        Raises:
            WiringError: what does not fit, and the file to mend.
        """
        registry = TasksRegistry(self._broker)
        registry.register(self._controllers, TaskName)
        check_schedules(self._schedules, self._broker)
        return registry


@dataclass(frozen=True, kw_only=True)
class SchedulerFactory:
    """Gives the scheduler that sends what the table of schedules says, side by side with any number of others."""

    _registry: TasksRegistry
    _schedules: StaticSchedules

    def __call__(self) -> TaskiqScheduler:
        """Build the scheduler."""
        broker = self._registry.broker
        return TaskiqScheduler(broker, [DurableScheduleSource(broker, self._schedules)])
