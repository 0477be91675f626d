"""Wakes those who wait for results, over one connection for all of them."""

import asyncio
from logging import getLogger
from typing import TYPE_CHECKING, Final, cast

from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from kiqstart.infrastructure.taskiq.streams.delivery import local_time
from kiqstart.infrastructure.taskiq.streams.keys import QueueKeys
from kiqstart.infrastructure.taskiq.streams.outage import is_outage, pause

if TYPE_CHECKING:
    from redis.asyncio import Redis

logger = getLogger(__name__)

# Announcements can be missed while a connection is cut, so the results themselves are looked at as well.
_SECONDS_BETWEEN_LOOKS: Final = 1.0
_SECONDS_TO_LISTEN: Final = 5.0
_SECONDS_TO_CLOSE: Final = 1.0


class ResultWaiter:
    """Waits for the announcements of results in one event loop.

    One subscription connection, opened by the first who waits, serves all. While it is cut, results are looked for once
    a second.

    Args:
        redis: an async client, also for the looks.
    """

    def __init__(self, redis: object, keys: QueueKeys) -> None:
        self._redis = cast("Redis", redis)
        self._keys = keys
        self._waiters: dict[str, set[asyncio.Event]] = {}
        self._pubsub: PubSub | None = None
        self._listener: asyncio.Task[None] | None = None
        # Only one at a time may open the connection or write to it.
        self._changing = asyncio.Lock()
        self._is_closed = False

    async def wait(self, task_id: str, timeout: float | None) -> bool:  # noqa: ASYNC109  # None waits for ever
        """Wait until the task's result is there; False where `timeout` seconds have passed."""
        channel = self._keys.result(task_id)
        deadline = None if timeout is None else local_time() + timeout
        announced = asyncio.Event()
        await self._enter(channel, announced)
        try:
            while True:
                announced.clear()
                if await self._is_there(channel):
                    return True
                left = _SECONDS_BETWEEN_LOOKS if deadline is None else deadline - local_time()
                if left <= 0:
                    return False
                try:
                    async with asyncio.timeout(min(left, _SECONDS_BETWEEN_LOOKS)):
                        await announced.wait()
                except TimeoutError:
                    continue
        finally:
            await self._leave(channel, announced)

    async def close(self) -> None:
        """Let the connection go."""
        self._is_closed = True
        if self._listener is not None:
            # Said twice, since redis-py can swallow a cancellation that arrives with an answer.
            self._listener.cancel()
            await asyncio.wait({self._listener}, timeout=_SECONDS_TO_CLOSE)

    async def _enter(self, channel: str, announced: asyncio.Event) -> None:
        is_first = channel not in self._waiters
        self._waiters.setdefault(channel, set()).add(announced)
        if self._listener is None:
            self._pubsub = self._redis.pubsub()
            self._listener = asyncio.create_task(self._listen(self._pubsub), name="results")
        if is_first:
            await self._subscribe(channel)

    async def _leave(self, channel: str, announced: asyncio.Event) -> None:
        waiters = self._waiters.get(channel, set())
        waiters.discard(announced)
        if not waiters and self._waiters.pop(channel, None) is not None:
            await self._subscribe(channel, is_wanted=False)

    async def _subscribe(self, channel: str, *, is_wanted: bool = True) -> None:
        if self._pubsub is None or self._is_closed:
            return
        try:
            async with self._changing:
                if is_wanted:
                    await self._pubsub.subscribe(channel)
                else:
                    await self._pubsub.unsubscribe(channel)
        except (RedisError, OSError) as error:
            # The channel is noted, and subscribed to when the listener has connected again.
            logger.debug("Announcements of results are not heard for now: %s", error)

    async def _is_there(self, channel: str) -> bool:
        try:
            return bool(await self._redis.exists(channel))
        except Exception as error:
            if not is_outage(error):
                raise
            return False

    async def _listen(self, pubsub: PubSub) -> None:
        tries = 0
        try:
            while not self._is_closed:
                try:
                    async with self._changing:
                        await pubsub.connect()  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated
                    message = cast("dict[str, object] | None", await pubsub.get_message(timeout=_SECONDS_TO_LISTEN))
                    tries = 0
                except (RedisError, OSError):
                    await asyncio.sleep(pause(tries))
                    tries += 1
                    continue
                # A confirmed subscription wakes too: the result may have come just before it.
                if message is not None:
                    for announced in self._waiters.get(cast("bytes", message["channel"]).decode(), ()):
                        announced.set()
        finally:
            self._listener = None
            self._pubsub = None
            await pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated
