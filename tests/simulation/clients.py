"""Clients of the simulated network, with the faces that the product knows."""

# ruff: noqa: ANN401  # redis-py's signatures

import asyncio
from collections.abc import Awaitable
from typing import Any, Final, Self, cast

import redis
import redis.asyncio
from greenlet import GreenletExit  # type: ignore[import-untyped]  # it has no types
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from tests.simulation.kernel import Process, current_thread
from tests.simulation.network import Link, Network
from tests.simulation.server import Value

from kiqstart.redis.pipeline import MultiplexedClient

_CALLBACKS: Final = redis.Redis(protocol=2).response_callbacks
_ASYNC_CALLBACKS: Final = redis.asyncio.Redis(protocol=2).response_callbacks


class Pipe(MultiplexedClient):
    """Stands in for the product's pipeline: one connection, on which the commands of many callers travel."""

    def __init__(self, network: Network, process: Process, *, timeout: float) -> None:
        self._network = network
        self._process = process
        self._link = Link(process, timeout=timeout)

    def execute_command(self, *command: Value) -> "asyncio.Future[object]":
        """Send a command."""
        if self._process.is_dead:
            raise RedisConnectionError("this process is dead")
        answer: asyncio.Future[object] = self._process.loop.create_future()
        self._network.send(self._link, list(command), lambda found: _settle(answer, found))
        return answer

    async def aclose(self) -> None:
        """Let the connection go."""
        self._network.close(self._link)


class AsyncClient(redis.asyncio.Redis):
    """redis-py's methods on a simulated connection."""

    def __init__(self, network: Network, process: Process, *, timeout: float) -> None:
        self._pipe = Pipe(network, process, timeout=timeout)
        self.response_callbacks = _ASYNC_CALLBACKS

    def __del__(self, *_: object) -> None:
        """There is nothing to warn of."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command, and read its answer as redis-py does."""
        return _parsed(self.response_callbacks, args, options, await self._pipe.execute_command(*_words(args)))

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Any:
        """Several commands, whose answers come together."""
        del transaction, shard_hint
        return _Batch(self)

    def pubsub(self, **_: Any) -> Any:
        """To try whether it may listen: it always may."""
        return _Trial()

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Let the connection go."""
        del close_connection_pool
        await self._pipe.aclose()


class _Trial:
    """A subscription for a moment."""

    async def subscribe(self, channel: str) -> None:
        """Nobody refuses it."""

    async def parse_response(self) -> None:
        """Nobody refuses it."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is left open."""


class _Batch(AsyncClient):
    """Commands that are sent together."""

    def __init__(self, client: AsyncClient) -> None:
        self._pipe = client._pipe
        self.response_callbacks = client.response_callbacks
        self._answers: list[Awaitable[object]] = []

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one; its answer comes with all others."""
        sent = self._pipe.execute_command(*_words(args))

        async def answer() -> object:
            return _parsed(self.response_callbacks, args, options, await sent)

        self._answers.append(answer())
        return self

    async def execute(self, raise_on_error: bool = True) -> list[object]:
        """All answers; errors among them, where they are not to be raised."""
        answers: list[object] = []
        for one in self._answers:
            try:
                answers.append(await one)
            except ResponseError as error:
                if raise_on_error:
                    raise
                answers.append(error)
        return answers

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is left open."""


class BlockingClient(redis.Redis):
    """redis-py's methods for a thread of a simulated process, which waits for each answer."""

    def __init__(self, network: Network, process: Process, *, timeout: float) -> None:
        self._network = network
        self._process = process
        self._link = Link(process, timeout=timeout)
        self.response_callbacks = _CALLBACKS

    def __del__(self) -> None:
        """There is nothing to close."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command, and block until its answer is there."""
        if self._process.is_dead:
            raise GreenletExit
        thread = current_thread()
        self._network.send(self._link, _words(args), thread.resume)
        return _parsed(self.response_callbacks, args, options, _raised(thread.block()))

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Any:
        """Run a script: redis-py's own way to the same is a long one, and most commands go it."""
        return self.execute_command("EVALSHA", sha, numkeys, *keys_and_args)

    def close(self) -> None:
        """Let the connection go."""
        self._network.close(self._link)


def _words(args: tuple[Any, ...]) -> list[Any]:
    return [*str(args[0]).split(), *args[1:]] if " " in args[0] else list(args)


def _settle(answer: "asyncio.Future[object]", found: object) -> None:
    if answer.done():
        return
    if isinstance(found, BaseException):
        answer.set_exception(found)
    else:
        answer.set_result(found)


def _raised(found: object) -> object:
    if isinstance(found, BaseException):
        raise found
    return found


def _parsed(callbacks: Any, args: tuple[Any, ...], options: dict[str, Any], found: object) -> Any:
    options.pop("keys", None)
    callback = callbacks.get(str(args[0]))
    return callback(found, **options) if callback is not None else cast("Any", found)
