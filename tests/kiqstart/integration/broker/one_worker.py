import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import cast

from redis.asyncio import Redis
from taskiq.serializers import ORJSONSerializer

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.receiver.stream_receiver import StreamReceiver
from kiqstart.broker.retries import RetryMiddleware
from kiqstart.tasks.uniqueness import UniquenessMiddleware

BrokerFactory = Callable[[StreamOptions], StreamBroker]


def make_broker(redis_url: str, key_prefix: str, options: StreamOptions) -> StreamBroker:
    """A broker with the middlewares of the service, and no tasks."""
    broker = StreamBroker(redis_url, queue_name=f"{{{key_prefix}}}:tasks", options=options)
    broker.with_serializer(ORJSONSerializer())
    broker.with_middlewares(UniquenessMiddleware(), RetryMiddleware(broker))
    return broker


@asynccontextmanager
async def one_worker(broker: StreamBroker) -> AsyncGenerator[None]:
    """Run the broker's tasks in this event loop."""
    finish = asyncio.Event()
    receiver = StreamReceiver(broker, max_async_tasks=10, wait_tasks_timeout=5.0)
    listening = asyncio.create_task(receiver.listen(finish))
    try:
        yield
    finally:
        finish.set()
        await listening


def redis_of(broker: StreamBroker) -> Redis:
    """The client of the broker."""
    return cast("Redis", broker.connection.redis)
