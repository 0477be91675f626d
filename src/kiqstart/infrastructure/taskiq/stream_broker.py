"""The Redis Streams broker."""

from collections.abc import Awaitable, Callable

from redis.asyncio import Redis
from taskiq_redis import RedisStreamBroker


class StreamBroker(RedisStreamBroker):
    """taskiq-redis' stream broker, whose finished tasks leave nothing in the stream.

    An acknowledged entry stays in a Redis stream until it is deleted, so acknowledging here does both. The group reads
    from the beginning of the stream, so that what was sent before the first worker started is run as well.
    """

    def _ack_generator(self, id: str, queue_name: str) -> Callable[[], Awaitable[None]]:  # noqa: A002  # overridden
        async def acknowledge() -> None:
            redis = Redis(connection_pool=self.connection_pool)
            async with redis.pipeline(transaction=True) as pipeline:
                pipeline.xack(queue_name, self.consumer_group_name, id)
                pipeline.xdel(queue_name, id)
                await pipeline.execute()

        return acknowledge
