"""Makes a broker of settings."""

from typing import Final

from taskiq import AsyncBroker, TaskiqMiddleware
from taskiq.serializers import ORJSONSerializer

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.in_memory import DelayingInMemoryBroker
from kiqstart.broker.lifecycle import RedisCheck, warn_of_memory
from kiqstart.broker.retries import RetryMiddleware
from kiqstart.broker.settings import TasksSettings
from kiqstart.broker.task_log import TaskLogMiddleware
from kiqstart.errors import OperatorError
from kiqstart.redis.settings import RedisSettings
from kiqstart.tasks.arguments import ArgumentsMiddleware
from kiqstart.tasks.uniqueness import UniquenessMiddleware

_IN_MEMORY_RESULTS: Final = 10_000
_GROUP: Final = "workers"


class TracingUnavailableError(OperatorError):
    """OpenTelemetry is asked for, and not installed."""


def create_broker(redis: RedisSettings, tasks: TasksSettings) -> AsyncBroker:
    """Make the broker that `REDIS_URL` asks for, not yet started and without tasks.

    A `redis://` URL gives Redis Streams: what was sent is run, also when no worker was there yet. `memory://` gives
    taskiq's `InMemoryBroker`, which runs tasks in the process that sends them: a task that waits or runs when the
    process ends is lost, its result and its retries with it, and no other process sees them.

    Starting the broker checks Redis, and the rights of its user. Messages and results are JSON; results expire.

    Args:
        redis: where Redis is.
        tasks: how tasks are kept and delivered.

    Raises:
        TracingUnavailableError: `TASKS_TRACING` is on without OpenTelemetry.
    """
    others = _tracing() if tasks.tracing else []
    if redis.is_in_memory:
        in_memory = DelayingInMemoryBroker(max_stored_results=_IN_MEMORY_RESULTS)
        warn_of_memory(in_memory)
        return _with_middlewares(in_memory, *others, TaskLogMiddleware())
    broker = StreamBroker(
        redis.redis_url.get_secret_value(),
        queue_name=tasks.queue,
        queues=tasks.weights,
        consumer_group_name=_GROUP,
        options=tasks.stream_options,
        sealing=tasks.sealing,
        result_ttl=tasks.result_ttl,
        result_prefix=tasks.results,
        connect_timeout=redis.redis_connect_timeout,
    )
    RedisCheck(broker=broker).attach()
    return _with_middlewares(broker, *others)


def _with_middlewares(broker: StreamBroker | DelayingInMemoryBroker, *others: TaskiqMiddleware) -> AsyncBroker:
    return broker.with_serializer(ORJSONSerializer()).with_middlewares(
        ArgumentsMiddleware(), UniquenessMiddleware(), *others, RetryMiddleware(broker)
    )


def _tracing() -> list[TaskiqMiddleware]:
    try:
        from kiqstart.broker.tracing.middleware import TracingMiddleware
    except ModuleNotFoundError as error:
        problem = f"TASKS_TRACING is on, and {error.name} is not installed"
        raise TracingUnavailableError(f"settings: {problem}: pip install 'kiqstart[opentelemetry]'") from None
    return [TracingMiddleware()]
