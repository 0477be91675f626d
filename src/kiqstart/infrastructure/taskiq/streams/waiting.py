"""Wakes those who wait for results: any number, over one connection that listens and one that asks."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Final, cast

from kiqstart.infrastructure.redis.connections import RedisConnections
from kiqstart.infrastructure.taskiq.streams.keys import QueueKeys
from kiqstart.infrastructure.taskiq.streams.outage import is_outage

if TYPE_CHECKING:
    from kiqstart.infrastructure.taskiq.streams.script import AsyncClient

# Announcements can be missed while a connection is cut, so the results themselves are looked at as well: all of them
# once a second, and no more than so many in a second.
_SECONDS_BETWEEN_LOOKS: Final = 1.0
_LOOKS_A_SECOND: Final = 10_000
# Results may be large.
_LOOKS_AT_ONCE: Final = 64
_SECONDS_FOR_THE_LAST_LOOK: Final = 0.25


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

    def __init__(self, client: object, large_client: object, connections: RedisConnections, keys: QueueKeys) -> None:
        self._client = cast("AsyncClient", client)
        self._large_client = cast("AsyncClient", large_client)
        self._keys = keys
        self._subscription = connections.subscription(self)
        self._waiters: dict[str, list[asyncio.Future[bytes]]] = {}
        # In the order in which they were asked for; the values mean nothing.
        self._doubtful: dict[str, None] = {}
        self._looking: asyncio.Task[None] | None = None
        self._fetching: dict[str, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, task_id: str, timeout: float | None) -> bytes | None:  # noqa: ASYNC109  # None waits for ever
        """Wait for the task's result; None where `timeout` seconds have passed without one.

        Raises:
            RedisError: Redis refuses to show it; while Redis is away, waiting goes on.
        """
        channel = self._keys.result(task_id)
        result: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._enter(channel, result)
        try:
            await asyncio.wait((result,), timeout=timeout)
            if not result.done():
                with suppress(TimeoutError):
                    async with asyncio.timeout(_SECONDS_FOR_THE_LAST_LOOK):
                        await self._look_at([channel], self._client)
            return result.result() if result.done() else None
        finally:
            self._leave(channel, result)

    def on_listening(self, channel: str) -> None:
        """A result that came before could not be heard."""
        self._look_for(channel)

    def on_message(self, channel: str, message: bytes) -> None:
        """A result is there; a large one has to be fetched."""
        if message:
            self._wake(channel, message)
        elif channel in self._waiters and channel not in self._fetching:
            self._fetching[channel] = asyncio.create_task(self._fetch(channel), name="large result")

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

    def _enter(self, channel: str, result: "asyncio.Future[bytes]") -> None:
        if channel in self._waiters:
            self._waiters[channel].append(result)
            self._look_for(channel)
            return
        self._waiters[channel] = [result]
        self._subscription.join(channel)
        if self._timer is None:
            self._look_again_later()

    def _leave(self, channel: str, result: "asyncio.Future[bytes]") -> None:
        waiters = self._waiters[channel]
        waiters.remove(result)
        if not waiters:
            del self._waiters[channel]
            self._subscription.leave(channel)

    def _wake(self, channel: str, value: bytes) -> None:
        for result in self._waiters.get(channel, ()):
            if not result.done():
                result.set_result(value)

    def _look_for(self, channel: str) -> None:
        self._doubtful[channel] = None
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(), name="results")

    def _look_again_later(self) -> None:
        seconds = max(_SECONDS_BETWEEN_LOOKS, len(self._waiters) / _LOOKS_A_SECOND)
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        for channel in self._waiters:
            self._look_for(channel)
        if self._waiters:
            self._look_again_later()

    async def _look(self) -> None:
        try:
            while channels := list(islice(self._doubtful, _LOOKS_AT_ONCE)):
                for channel in channels:
                    del self._doubtful[channel]
                await self._look_at(
                    [one for one in channels if one in self._waiters and one not in self._fetching], self._client
                )
        finally:
            self._looking = None

    async def _fetch(self, channel: str) -> None:
        try:
            await self._look_at([channel], self._large_client)
        finally:
            del self._fetching[channel]

    async def _look_at(self, channels: Sequence[str], client: "AsyncClient") -> None:
        if not channels:
            return
        try:
            values = cast("list[bytes | None]", await client.execute_command("MGET", *channels))
        except Exception as error:  # noqa: BLE001  # handed to those who wait
            if not is_outage(error):
                self._fail(channels, error)
            return
        for channel, value in zip(channels, values, strict=True):
            if value is not None:
                self._wake(channel, value)

    def _fail(self, channels: Sequence[str], error: Exception) -> None:
        for channel in channels:
            for result in self._waiters.get(channel, ()):
                if not result.done():
                    result.set_exception(error)
