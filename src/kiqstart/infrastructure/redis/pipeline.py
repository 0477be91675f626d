"""One connection on which the commands of many callers travel together.

redis-py gives each command a connection of its own and awaits its answer there: that costs more than all that a task
queue does beside. Here, what is asked for in one turn of the event loop is one write, and answers are matched by their
order.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from kiqstart.infrastructure.redis.raw_connection import (
    HandedOver,
    RawConnection,
    TakenOverProtocol,
    Value,
    pack,
)

# Bytes of a command from which on it waits for no others.
_LARGE: Final = 16_384
# A loop that was blocked calls a timer before it reads what has arrived meanwhile. So a time-out is looked at twice.
_SECONDS_TO_READ: Final = 0.1


class AnswerProtocol(TakenOverProtocol):
    """Writes commands and matches answers, in order, while the connection lives."""

    def __init__(self, connection: HandedOver) -> None:
        super().__init__(connection)
        self._out: list[bytes] = []
        self._waiting: deque[asyncio.Future[object]] = deque()

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is outstanding."""
        return bool(self._waiting)

    def send(self, command: tuple[Value, ...], answer: "asyncio.Future[object]") -> None:
        """Send a command with all others of this turn of the event loop."""
        packed = pack(*command)
        self._out.append(packed)
        if not self._waiting:
            self.heard_at = self._loop.time()
        self._waiting.append(answer)
        if len(packed) > _LARGE:
            self._flush()
        elif len(self._out) == 1:
            self._loop.call_soon(self._flush)

    def on_reply(self, reply: object) -> None:
        """Hand an answer to the caller whose turn it is."""
        answer = self._waiting.popleft()
        if answer.done():
            return
        if isinstance(reply, Exception):
            answer.set_exception(reply)
        else:
            answer.set_result(reply)

    def on_lost(self, error: Exception) -> None:
        """Tell every caller."""
        waiting, self._waiting = self._waiting, deque()
        for answer in waiting:
            if not answer.done():
                answer.set_exception(error)

    def _flush(self) -> None:
        commands, self._out = self._out, []
        if commands and not self.is_lost:
            self.write(b"".join(commands))


class RedisPipeline:
    """A client with one connection, opened by the first command and anew after it was lost.

    Nothing is sent twice: a command whose connection is lost fails, and may have been run. A caller that is cancelled
    leaves its command on the way.

    Args:
        connect: opens a connection.
        timeout: seconds without any answer, while one is outstanding, after which the connection is given up.
    """

    def __init__(self, connect: Callable[[], Awaitable[RawConnection]], *, timeout: float) -> None:
        self._open = connect
        self._timeout = timeout
        self._protocol: AnswerProtocol | None = None
        self._connection: RawConnection | None = None
        self._backlog: list[tuple[tuple[Value, ...], asyncio.Future[object]]] = []
        self._connecting: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def execute_command(self, *command: Value) -> "asyncio.Future[object]":
        """Send a command; its answer, or a `RedisError`, is the future's."""
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        protocol = self._protocol
        if protocol is None or protocol.is_lost:
            self._backlog.append((command, answer))
            if self._connecting is None:
                self._connecting = asyncio.create_task(self._connect(), name="redis connection")
        else:
            protocol.send(command, answer)
            if self._timer is None:
                self._set_timer(self._timeout)
        return answer

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Value) -> "asyncio.Future[object]":
        """Run a script that Redis knows."""
        return self.execute_command("EVALSHA", sha, numkeys, *keys_and_args)

    def eval(self, script: str, numkeys: int, *keys_and_args: Value) -> "asyncio.Future[object]":
        """Run a script, and let Redis remember it."""
        return self.execute_command("EVAL", script, numkeys, *keys_and_args)

    async def aclose(self) -> None:
        """Let the connection go; answers that are outstanding become errors."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._disconnect()

    async def _connect(self) -> None:
        error: BaseException | None = None
        try:
            await self._disconnect()
            self._connection = await self._open()
            self._protocol = AnswerProtocol(self._connection.hand_over())
        except BaseException as caught:  # noqa: BLE001  # handed to those who wait
            error = caught
        finally:
            self._connecting = None
        backlog, self._backlog = self._backlog, []
        for command, answer in backlog:
            if answer.done():
                continue
            if self._protocol is not None and error is None:
                self._protocol.send(command, answer)
            elif isinstance(error, Exception):
                answer.set_exception(error)
            else:
                answer.set_exception(RedisConnectionError("the client is closed"))
        if self._timer is None:
            self._set_timer(self._timeout)

    async def _disconnect(self) -> None:
        connection, self._connection, self._protocol = self._connection, None, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    def _set_timer(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self, *, is_second: bool = False) -> None:
        self._timer = None
        protocol = self._protocol
        if protocol is None or not protocol.is_waiting:
            return
        left = protocol.heard_at + self._timeout - asyncio.get_running_loop().time()
        if left > 0:
            self._set_timer(left)
        elif is_second:
            protocol.abort(RedisTimeoutError(f"no answer for {self._timeout:g} s"))
        else:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_SECONDS_TO_READ, lambda: self._look(is_second=True))
