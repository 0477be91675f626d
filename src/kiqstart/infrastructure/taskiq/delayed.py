"""Messages that wait for their time in Redis, not in a worker's memory."""

import asyncio
import contextlib
from logging import getLogger
from typing import Final, Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError
from taskiq import AsyncBroker, BrokerMessage

logger = getLogger(__name__)

# Redis' own clock decides, so that senders and workers need not agree on the time.
_ADD: Final = """
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], time[1] + time[2] / 1000000 + ARGV[2], ARGV[1])
"""
_MOVE_DUE: Final = """
local time = redis.call('TIME')
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', time[1] + time[2] / 1000000, 'LIMIT', 0, ARGV[1])
for _, message in ipairs(due) do
    redis.call('XADD', KEYS[2], '*', 'data', message)
    redis.call('ZREM', KEYS[1], message)
end
return #due
"""
_BATCH: Final = 100
_SECONDS_TO_STOP: Final = 3.0


class DelayedMessages(Protocol):
    """Where a message waits until it is sent."""

    async def add(self, message: BrokerMessage, delay: float) -> None:
        """Send the message after `delay` seconds."""
        ...


class RedisDelayedMessages:
    """A sorted set beside the stream. Any worker moves what is due, each message once.

    Adding the same message again keeps one entry, so a retry that is decided twice is sent once.

    Args:
        redis: a client of the broker's Redis.
        queue: key of the stream that due messages are moved to.
        interval: seconds between two looks at the set.
    """

    def __init__(self, redis: Redis, *, queue: str, interval: float = 0.5) -> None:
        self._queue = queue
        self._key = f"{queue}:delayed"
        self._interval = interval
        self._add = redis.register_script(_ADD)
        self._move_due = redis.register_script(_MOVE_DUE)
        self._mover: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    async def add(self, message: BrokerMessage, delay: float) -> None:
        """Store the message; it is sent once `delay` seconds have passed on Redis' clock."""
        await self._add(keys=[self._key], args=[message.message, delay])

    def start(self) -> None:
        """Begin to move what is due. Call it in a worker's event loop."""
        self._stopping.clear()
        self._mover = asyncio.create_task(self._move_until_stopped(), name="delayed-messages")

    async def stop(self) -> None:
        """Stop moving; what waits stays in Redis."""
        # Asked, not cancelled: redis-py can swallow a cancellation that arrives while it talks to the server.
        self._stopping.set()
        if self._mover is not None:
            await asyncio.wait({self._mover}, timeout=_SECONDS_TO_STOP)
            self._mover = None

    async def _move_until_stopped(self) -> None:
        while not self._stopping.is_set():
            try:
                while await self._move_due(keys=[self._key, self._queue], args=[_BATCH]) == _BATCH:
                    pass
            except RedisError as error:
                logger.warning("Delayed messages wait on: %s", error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._interval)


class InMemoryDelayedMessages:
    """Messages that wait in this process, for the in-memory broker. They are lost when it ends."""

    def __init__(self, broker: AsyncBroker) -> None:
        self._broker = broker
        self._waiting: set[asyncio.Task[None]] = set()

    async def add(self, message: BrokerMessage, delay: float) -> None:
        """Send the message after `delay` seconds of this process' life."""
        task = asyncio.create_task(self._send(message, delay))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def stop(self) -> None:
        """Drop what still waits."""
        for task in self._waiting:
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)

    async def _send(self, message: BrokerMessage, delay: float) -> None:
        await asyncio.sleep(delay)
        await self._broker.kick(message)
