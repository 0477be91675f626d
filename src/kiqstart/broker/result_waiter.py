"""Wakes those who wait for results: any number, over one connection that listens and one that asks."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final, cast

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.redis_retry import is_outage
from kiqstart.redis.commands import ScriptClient
from kiqstart.redis.connections import RedisConnections

# Announcements can be missed while a connection is cut, or if Redis allows no channels, so the results themselves are
# looked at as well. Of a channel that is heard seldom: after 1 s, 2 s, 4 s and so on; of any other once a second. All
# together cost no more than so many looks a second.
_SECONDS_BETWEEN_LOOKS: Final = 1.0
_MOST_SECONDS_BETWEEN_LOOKS: Final = 30.0
_LOOKS_A_SECOND: Final = 10_000
# How often within the shortest time between two looks it is seen what is due.
_TURNS_BETWEEN_LOOKS: Final = 4
# Results may be large.
_LOOKS_AT_ONCE: Final = 64
_SECONDS_FOR_THE_LAST_LOOK: Final = 0.25


@dataclass(slots=True, eq=False)
class _Awaited:
    """A result that somebody waits for, and the time of the next look at it, by the event loop's clock."""

    futures: list["asyncio.Future[bytes]"]
    delay: float
    look_at: float


class ResultWaiter:
    """Waits for results in one event loop.

    A worker announces a result with the result itself, unless it is large. Whoever begins to wait is heard from the
    next turn of the event loop on; then, and whenever announcements may have been missed, the result is looked for.

    Args:
        client: an async client, for looks.
        large_client: another one, for results that are known to be large.
        connections: to the server that announces.
        keys: the queue's names.
    """

    def __init__(
        self, client: ScriptClient, large_client: ScriptClient, connections: RedisConnections, keys: QueueKeys
    ) -> None:
        self._client = client
        self._large_client = large_client
        self._keys = keys
        self._suffix = keys.channel_suffix
        self._subscription = connections.subscription(self)
        # By the result's key.
        self._awaited: dict[str, _Awaited] = {}
        # In the order in which they were asked for; the values mean nothing.
        self._doubtful: dict[str, None] = {}
        self._looking: asyncio.Task[None] | None = None
        self._fetching: dict[str, asyncio.Task[None]] = {}
        # One for all: most results are announced long before.
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, task_id: str, timeout: float | None) -> bytes | None:  # noqa: ASYNC109  # None waits for ever
        """Wait for the task's result; None where `timeout` seconds have passed without one.

        Raises:
            RedisError: Redis refuses to show it; while Redis is away, waiting goes on.
        """
        key = self._keys.result(task_id)
        result: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._enter(key, result)
        try:
            await asyncio.wait((result,), timeout=timeout)
            if not result.done():
                with suppress(TimeoutError):
                    async with asyncio.timeout(_SECONDS_FOR_THE_LAST_LOOK):
                        await self._look_at([key], self._client)
            return result.result() if result.done() else None
        finally:
            self._leave(key, result)

    def on_listening(self, channel: str) -> None:
        """A result that came before could not be heard."""
        self._look_for(channel.removesuffix(self._suffix))

    def on_message(self, channel: str, message: bytes) -> None:
        """A result is there; a large one has to be fetched."""
        key = channel.removesuffix(self._suffix)
        if message:
            self._wake(key, message)
        elif key in self._awaited and key not in self._fetching:
            self._fetching[key] = asyncio.create_task(self._fetch(key), name="large result")

    def on_lost(self) -> None:
        """Until channels are heard again, results are looked for."""
        for awaited in self._awaited.values():
            self._look_later(awaited, _SECONDS_BETWEEN_LOOKS)

    def reconnect(self) -> None:
        """Leave a server that is no master now; it might announce nothing any more."""
        self._subscription.reconnect()

    async def close(self) -> None:
        """Let the connection go."""
        if self._timer is not None:
            self._timer.cancel()
        tasks = set(self._fetching.values())
        if self._looking is not None:
            tasks.add(self._looking)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._subscription.aclose()

    def _enter(self, key: str, result: "asyncio.Future[bytes]") -> None:
        if key in self._awaited:
            self._awaited[key].futures.append(result)
            self._look_for(key)
            return
        self._awaited[key] = awaited = _Awaited([result], 0.0, 0.0)
        self._look_later(awaited, _SECONDS_BETWEEN_LOOKS)
        self._subscription.join(key + self._suffix)
        if self._subscription.is_refused:
            self._look_for(key)
        if self._timer is None:
            self._arm()

    def _leave(self, key: str, result: "asyncio.Future[bytes]") -> None:
        awaited = self._awaited[key]
        awaited.futures.remove(result)
        if not awaited.futures:
            del self._awaited[key]
            self._subscription.leave(key + self._suffix)

    def _wake(self, key: str, value: bytes) -> None:
        for result in self._unfinished(key):
            result.set_result(value)

    def _unfinished(self, key: str) -> "list[asyncio.Future[bytes]]":
        awaited = self._awaited.get(key)
        return [] if awaited is None else _unfinished_of(awaited.futures)

    def _look_for(self, key: str) -> None:
        self._doubtful[key] = None
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(), name="results")

    def _look_later(self, awaited: _Awaited, delay: float) -> None:
        awaited.delay = max(delay, len(self._awaited) / _LOOKS_A_SECOND)
        awaited.look_at = asyncio.get_running_loop().time() + awaited.delay

    def _arm(self) -> None:
        seconds = max(_SECONDS_BETWEEN_LOOKS / _TURNS_BETWEEN_LOOKS, len(self._awaited) / _LOOKS_A_SECOND)
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for key, awaited in self._awaited.items():
            if awaited.look_at <= now:
                self._look_for(key)
                is_heard = self._subscription.hears(key + self._suffix)
                delay = min(awaited.delay * 2, _MOST_SECONDS_BETWEEN_LOOKS) if is_heard else _SECONDS_BETWEEN_LOOKS
                self._look_later(awaited, delay)
        if self._awaited:
            self._arm()

    async def _look(self) -> None:
        try:
            while keys := list(islice(self._doubtful, _LOOKS_AT_ONCE)):
                for key in keys:
                    del self._doubtful[key]
                await self._look_at(
                    [key for key in keys if key in self._awaited and key not in self._fetching], self._client
                )
        finally:
            self._looking = None

    async def _fetch(self, key: str) -> None:
        try:
            await self._look_at([key], self._large_client)
        finally:
            del self._fetching[key]
        if self._unfinished(key):
            # Some have begun to wait meanwhile.
            self._look_for(key)

    async def _look_at(self, keys: Sequence[str], client: ScriptClient) -> None:
        if not keys:
            return
        # Who begins to wait only now may have sent the task anew, and what was there before is not his.
        asking = [self._unfinished(key) for key in keys]
        try:
            values = cast("list[bytes | None]", await client.execute_command("MGET", *keys))
        except Exception as error:  # noqa: BLE001  # handed to those who wait
            if not is_outage(error):
                for result in _unfinished_of(chain.from_iterable(asking)):
                    result.set_exception(error)
            return
        for results, value in zip(asking, values, strict=True):
            if value is not None:
                for result in _unfinished_of(results):
                    result.set_result(value)


def _unfinished_of(results: "Iterable[asyncio.Future[bytes]]") -> "list[asyncio.Future[bytes]]":
    return [result for result in results if not result.done()]
