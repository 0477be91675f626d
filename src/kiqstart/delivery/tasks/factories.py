"""Builds the broker, the registry with its tasks, and the scheduler."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine
from taskiq import AsyncBroker, InMemoryBroker, TaskiqScheduler
from taskiq.serializers import ORJSONSerializer
from taskiq_redis import RedisAsyncResultBackend

from kiqstart.delivery.tasks.lifecycle import InMemoryLifecycle, StreamLifecycle
from kiqstart.delivery.tasks.names import TaskName
from kiqstart.delivery.tasks.policies import RetentionPolicies
from kiqstart.delivery.tasks.registry import TasksRegistry
from kiqstart.delivery.tasks.settings import TasksSettings
from kiqstart.infrastructure.controller import Controller
from kiqstart.infrastructure.observability.logging import TaskLogMiddleware
from kiqstart.infrastructure.redis.client import create_redis
from kiqstart.infrastructure.redis.settings import RedisSettings
from kiqstart.infrastructure.taskiq.arguments import ArgumentsMiddleware
from kiqstart.infrastructure.taskiq.delayed import DelayedMessages, InMemoryDelayedMessages, RedisDelayedMessages
from kiqstart.infrastructure.taskiq.retries import RetryMiddleware
from kiqstart.infrastructure.taskiq.schedule_source import (
    LocalOccurrenceClaims,
    OccurrenceSource,
    RedisOccurrenceClaims,
)
from kiqstart.infrastructure.taskiq.schedules import ScheduleTable, check_schedules
from kiqstart.infrastructure.taskiq.shutdown import ShutdownSignal
from kiqstart.infrastructure.taskiq.stream_broker import StreamBroker

# Reading ahead takes tasks from other workers, so a worker reads little at a time.
_READ_COUNT: Final = 10
_CLAIM_LOCK_SECONDS: Final = 10.0
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
        url = self._redis_settings.redis_url.get_secret_value()
        broker = StreamBroker(
            url,
            queue_name=self._tasks_settings.queue,
            consumer_group_name="workers",
            consumer_id="0",
            xread_count=_READ_COUNT,
            unacknowledged_lock_timeout=_CLAIM_LOCK_SECONDS,
        )
        results: RedisAsyncResultBackend[object] = RedisAsyncResultBackend(
            url,
            result_ex_time=self._tasks_settings.result_ttl,
            prefix_str=self._tasks_settings.results,
            serializer=ORJSONSerializer(),
        )
        redis = create_redis(self._redis_settings)
        delayed = RedisDelayedMessages(redis, queue=self._tasks_settings.queue)
        StreamLifecycle(
            broker=broker,
            redis=redis,
            redis_settings=self._redis_settings,
            engine=self._engine,
            delayed=delayed,
            policies=self._policies,
            shutdown=self._shutdown,
        ).attach()
        return _with_middlewares(broker, delayed).with_result_backend(results)

    def _in_memory(self) -> AsyncBroker:
        broker = InMemoryBroker(max_stored_results=_IN_MEMORY_RESULTS)
        delayed = InMemoryDelayedMessages(broker)
        InMemoryLifecycle(broker=broker, engine=self._engine, delayed=delayed, policies=self._policies).attach()
        return _with_middlewares(broker, delayed)


def _with_middlewares(broker: AsyncBroker, delayed: DelayedMessages) -> AsyncBroker:
    return broker.with_serializer(ORJSONSerializer()).with_middlewares(
        ArgumentsMiddleware(), TaskLogMiddleware(), RetryMiddleware(delayed)
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
    _redis_settings: RedisSettings
    _tasks_settings: TasksSettings

    def __call__(self) -> TaskiqScheduler:
        """Build the scheduler."""
        claims = (
            LocalOccurrenceClaims()
            if self._redis_settings.is_in_memory
            else RedisOccurrenceClaims(create_redis(self._redis_settings), prefix=self._tasks_settings.occurrences)
        )
        return TaskiqScheduler(self._registry.broker, [OccurrenceSource(self._schedules, claims)])
