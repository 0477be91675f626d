"""Wakes those who wait for results, over one connection for all of them."""

import asyncio
from logging import getLogger
from typing import TYPE_CHECKING, Final, cast

from redis.asyncio.client import PubSub
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from kiqstart.infrastructure.taskiq.streams.delivery import local_time
from kiqstart.infrastructure.taskiq.streams.keys import QueueKeys
from kiqstart.infrastructure.taskiq.streams.outage import is_outage, pause

if TYPE_CHECKING:
    from redis.asyncio import Redis

logger = getLogger(__name__)

# Announcements can be missed while a connection is cut, so the results themselves are looked at as well.
_SECONDS_BETWEEN_LOOKS: Final = 1.0
# After so long without an announcement the server has to answer a PING, within as long again.
_SECONDS_TO_LISTEN: Final = 5.0
_SECONDS_TO_CLOSE: Final = 1.0


class ResultWaiter:
    """Waits for the announcements of results in one event loop.

    One subscription connection, opened by the first who waits, serves all. When it is lost, a new one takes its place,
    to the master or the cluster's node of that time; until then, results are looked for once a second.

    Args:
        redis: an async client, also for the looks.
        reads: lets so many looks go on at once.
    """

    def __init__(self, redis: object, keys: QueueKeys, reads: asyncio.Semaphore) -> None:
        self._redis = cast("Redis", redis)
        self._keys = keys
        self._reads = reads
        self._waiters: dict[str, set[asyncio.Event]] = {}
        # Set while it is subscribed to all that is waited for.
        self._pubsub: PubSub | None = None
        self._listener: asyncio.Task[None] | None = None
        # Only one at a time may write to the connection.
        self._writing = asyncio.Lock()
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
            self._listener = asyncio.create_task(self._listen(), name="results")
        elif is_first:
            await self._subscribe(channel)

    async def _leave(self, channel: str, announced: asyncio.Event) -> None:
        waiters = self._waiters.get(channel, set())
        waiters.discard(announced)
        if not waiters and self._waiters.pop(channel, None) is not None:
            await self._subscribe(channel, is_wanted=False)

    async def _subscribe(self, channel: str, *, is_wanted: bool = True) -> None:
        async with self._writing:
            # Without a connection it is enough that the channel is noted, or no longer.
            if self._pubsub is None or self._is_closed:
                return
            try:
                if is_wanted:
                    await self._pubsub.subscribe(channel)
                else:
                    await self._pubsub.unsubscribe(channel)
            except (RedisError, OSError) as error:
                # The listener notices too, and subscribes anew.
                logger.debug("Announcements of results are not heard for now: %s", error)

    async def _is_there(self, channel: str) -> bool:
        try:
            async with self._reads:
                return bool(await self._redis.exists(channel))
        except Exception as error:
            if not is_outage(error):
                raise
            return False

    async def _listen(self) -> None:
        tries = 0
        try:
            while self._waiters and not self._is_closed:
                began_at = local_time()
                try:
                    await self._listen_once()
                except Exception as error:  # noqa: BLE001  # whatever it is, later announcements have to be heard
                    logger.debug("Announcements of results are not heard for now: %s", error)
                    tries = 0 if local_time() - began_at > _SECONDS_TO_LISTEN else tries + 1
                    await asyncio.sleep(pause(tries))
        finally:
            self._listener = None

    async def _listen_once(self) -> None:
        """Listen on a connection until it is lost."""
        pubsub = self._redis.pubsub()
        try:
            await self._subscribe_to_all(pubsub)
            is_asked = False
            while not self._is_closed:
                message = cast("dict[str, object] | None", await pubsub.get_message(timeout=_SECONDS_TO_LISTEN))
                if message is not None:
                    is_asked = False
                    self._announce(message)
                elif is_asked:
                    raise RedisTimeoutError("no answer to a PING")
                else:
                    is_asked = True
                    async with self._writing:
                        await pubsub.ping()
        finally:
            self._pubsub = None
            await pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated

    async def _subscribe_to_all(self, pubsub: PubSub) -> None:
        known: set[str] = set()
        while new := self._waiters.keys() - known:
            known |= new
            await pubsub.subscribe(*new)
        self._pubsub = pubsub

    def _announce(self, message: dict[str, object]) -> None:
        # A confirmed subscription wakes too: the result may have come just before it. The answer to a PING has none.
        channel = message["channel"]
        if isinstance(channel, bytes):
            for announced in self._waiters.get(channel.decode(), ()):
                announced.set()
