"""The Redis Streams broker."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from logging import getLogger
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError
from taskiq import AckableMessage
from taskiq_redis import RedisStreamBroker

logger = getLogger(__name__)

_SECONDS_BETWEEN_TRIES: Final = 1.0


class StreamBroker(RedisStreamBroker):
    """taskiq-redis' stream broker, whose finished tasks leave nothing in the stream, and which outlives an outage.

    An acknowledged entry stays in a Redis stream until it is deleted, so acknowledging here does both. While Redis is
    away, a worker goes on with what it runs and asks again each second; taskiq would end it, and the running tasks with
    it, at the first error.
    """

    async def listen(self) -> AsyncGenerator[AckableMessage, None]:
        """Hand out messages, whatever becomes of the connection."""
        while True:
            try:
                async with aclosing(super().listen()) as messages:
                    async for message in messages:
                        yield message
            except (RedisError, OSError) as error:
                logger.warning("The queue is out of reach, asking again: %s", error)
                await asyncio.sleep(_SECONDS_BETWEEN_TRIES)
                # A Redis that came back empty has lost the group. Where it is still away, the next read says so.
                with suppress(RedisError, OSError):
                    await self._declare_consumer_group()

    def _ack_generator(self, id: str, queue_name: str) -> Callable[[], Awaitable[None]]:  # noqa: A002  # overridden
        async def acknowledge() -> None:
            redis = Redis(connection_pool=self.connection_pool)
            async with redis.pipeline(transaction=True) as pipeline:
                pipeline.xack(queue_name, self.consumer_group_name, id)
                pipeline.xdel(queue_name, id)
                await pipeline.execute()

        return acknowledge
