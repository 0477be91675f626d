"""Builds the broker, the registry with its tasks, and the scheduler."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine
from taskiq import AsyncBroker, TaskiqScheduler
from taskiq.serializers import ORJSONSerializer

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.in_memory import DelayingInMemoryBroker
from kiqstart.broker.retries import RetryMiddleware
from kiqstart.observability.logging import TaskLogMiddleware
from kiqstart.processes.shutdown import ShutdownSignal
from kiqstart.redis.client import create_redis
from kiqstart.redis.settings import RedisSettings
from kiqstart.scheduler.source import DurableScheduleSource
from kiqstart.scheduler.table import ScheduleTable, check_schedules
from kiqstart.tasks.arguments import ArgumentsMiddleware
from kiqstart.tasks.controller import Controller
from kiqstart.tasks.uniqueness import UniquenessMiddleware
from todo_service.delivery.tasks.lifecycle import InMemoryLifecycle, StreamLifecycle
from todo_service.delivery.tasks.names import TaskName
from todo_service.delivery.tasks.policies import RetentionPolicies
from todo_service.delivery.tasks.registry import TasksRegistry
from todo_service.delivery.tasks.settings import TasksSettings

_IN_MEMORY_RESULTS: Final = 10_000


@dataclass(frozen=True, kw_only=True)
class BrokerFactory:
    """Gives the broker that `REDIS_URL` asks for, not yet started and without tasks.

    A `redis://` URL gives Redis Streams: what was sent is run, also when no worker was there yet. `memory://` gives
    taskiq's `InMemoryBroker`, which runs tasks in the process that sends them: a task that waits or runs when the
    process ends is lost, its result and its retries with it, and no other process sees them.

    Starting the broker checks Redis and, where tasks run, PostgreSQL, its schema and the retention policies. Messages
    and results are JSON; results expire.
    """

    _redis_settings: RedisSettings
    _tasks_settings: TasksSettings
    _engine: AsyncEngine
    _policies: RetentionPolicies
    _shutdown: ShutdownSignal

    def __call__(self) -> AsyncBroker:
        """Build the broker."""
        return self._in_memory() if self._redis_settings.is_in_memory else self._streams()

    def _streams(self) -> AsyncBroker:
        settings = self._tasks_settings
        broker = StreamBroker(
            self._redis_settings.redis_url.get_secret_value(),
            queue_name=settings.queue,
            queues=settings.weights,
            consumer_group_name="workers",
            options=settings.stream_options,
            result_ttl=settings.result_ttl,
            result_prefix=settings.results,
            connect_timeout=self._redis_settings.redis_connect_timeout,
        )
        StreamLifecycle(
            broker=broker,
            redis=create_redis(self._redis_settings),
            redis_settings=self._redis_settings,
            keys=settings.keys,
            engine=self._engine,
            policies=self._policies,
            shutdown=self._shutdown,
        ).attach()
        return _with_middlewares(broker)

    def _in_memory(self) -> AsyncBroker:
        broker = DelayingInMemoryBroker(max_stored_results=_IN_MEMORY_RESULTS)
        InMemoryLifecycle(broker=broker, engine=self._engine, policies=self._policies).attach()
        return _with_middlewares(broker)


def _with_middlewares(broker: StreamBroker | DelayingInMemoryBroker) -> AsyncBroker:
    return broker.with_serializer(ORJSONSerializer()).with_middlewares(
        ArgumentsMiddleware(), UniquenessMiddleware(), TaskLogMiddleware(), RetryMiddleware(broker)
    )


@dataclass(frozen=True, kw_only=True)
class TasksRegistryFactory:
    """Registers every controller on the broker and checks that tasks, names and schedules fit together."""

    _broker: AsyncBroker
    _controllers: list[Controller]
    _schedules: ScheduleTable

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
    _schedules: ScheduleTable

    def __call__(self) -> TaskiqScheduler:
        """Build the scheduler."""
        broker = self._registry.broker
        return TaskiqScheduler(broker, [DurableScheduleSource(broker, self._schedules)])
