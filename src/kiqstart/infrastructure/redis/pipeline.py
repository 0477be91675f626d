"""One connection on which the commands of many callers travel together.

redis-py gives each command a connection of its own and awaits its answer there: that costs more than all that a task
queue does beside. Here, what is asked for in one turn of the event loop is one write, and answers are matched by their
order. Connecting, TLS and logging in remain redis-py's.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, cast

import hiredis
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse
from redis.exceptions import TimeoutError as RedisTimeoutError

Value = str | bytes | int | float

# Bytes of a command from which on it waits for no others.
_LARGE: Final = 16_384
# hiredis' own annotation allows a single value only.
_pack: Final = cast("Callable[[tuple[Value, ...]], bytes]", hiredis.pack_command)
# hiredis' answer for "not yet": none of Redis' own values.
_INCOMPLETE: Final = object()
# A loop that was blocked calls a timer before it reads what has arrived meanwhile. So a time-out is looked at twice.
_SECONDS_TO_READ: Final = 0.1


class PipelineConnection(AbstractConnection):
    """Connects and logs in as redis-py does, then leaves its transport to an `AnswerProtocol`."""

    def hand_over(self) -> "AnswerProtocol":
        """Give what reads and writes from now on; this object closes it with `disconnect()`."""
        writer = self._writer
        if writer is None:
            raise RedisConnectionError("not connected")
        transport = writer.transport
        parse_error = cast("Callable[[str], Exception]", self._parser.parse_error)
        protocol = AnswerProtocol(transport, parse_error)
        transport.set_protocol(protocol)
        return protocol


class PipelineServerConnection(PipelineConnection, Connection):
    """To one server."""


class PipelineTlsConnection(PipelineConnection, SSLConnection):
    """To one server, with TLS."""


class PipelineUnixConnection(PipelineConnection, UnixDomainSocketConnection):
    """To one server, through a socket of this machine."""


class AnswerProtocol(asyncio.Protocol):
    """Writes commands and matches answers, in order, while the connection lives.

    Args:
        transport: connected and logged in.
        parse_error: makes redis-py's errors of the server's.
    """

    def __init__(self, transport: asyncio.WriteTransport, parse_error: Callable[[str], Exception]) -> None:
        self._transport = transport
        # redis-py's streams: they have to learn that the connection is closed.
        self._predecessor = cast("asyncio.Protocol", transport.get_protocol())
        self._reader = hiredis.Reader(protocolError=InvalidResponse, replyError=parse_error, notEnoughData=_INCOMPLETE)
        self._loop = asyncio.get_running_loop()
        self._out: list[bytes] = []
        self._waiting: deque[asyncio.Future[object]] = deque()
        self.heard_at = self._loop.time()
        self.is_lost = False

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is outstanding."""
        return bool(self._waiting)

    def send(self, command: tuple[Value, ...], answer: "asyncio.Future[object]") -> None:
        """Send a command with all others of this turn of the event loop."""
        packed = _pack(command)
        self._out.append(packed)
        if not self._waiting:
            self.heard_at = self._loop.time()
        self._waiting.append(answer)
        if len(packed) > _LARGE:
            self._flush()
        elif len(self._out) == 1:
            self._loop.call_soon(self._flush)

    def abort(self, error: Exception) -> None:
        """Give up: every caller gets the error."""
        self._transport.abort()
        self._fail(error)

    def data_received(self, data: bytes) -> None:
        """Hand each answer to the caller whose turn it is."""
        self.heard_at = self._loop.time()
        reader, waiting = self._reader, self._waiting
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _INCOMPLETE:
                answer = waiting.popleft()
                if answer.done():
                    continue
                if isinstance(reply, Exception):
                    answer.set_exception(reply)
                else:
                    answer.set_result(reply)
        except (InvalidResponse, IndexError) as error:
            self.abort(RedisConnectionError(f"the server does not speak Redis' protocol: {error}"))

    def eof_received(self) -> bool:
        """Close the connection."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell every caller."""
        self._predecessor.connection_lost(exc)
        self._fail(RedisConnectionError(f"connection lost: {exc}" if exc else "Connection closed by server."))

    def _flush(self) -> None:
        commands, self._out = self._out, []
        if commands and not self.is_lost:
            self._transport.write(b"".join(commands))

    def _fail(self, error: Exception) -> None:
        self.is_lost = True
        waiting, self._waiting = self._waiting, deque()
        for answer in waiting:
            if not answer.done():
                answer.set_exception(error)


class RedisPipeline:
    """A client with one connection, opened by the first command and anew after it was lost.

    Nothing is sent twice: a command whose connection is lost fails, and may have been run. A caller that is cancelled
    leaves its command on the way.

    Args:
        make_connection: gives a connection of redis-py, not yet connected.
        timeout: seconds without any answer, while one is outstanding, after which the connection is given up.
    """

    def __init__(self, make_connection: Callable[[], PipelineConnection], *, timeout: float) -> None:
        self._make_connection = make_connection
        self._timeout = timeout
        self._protocol: AnswerProtocol | None = None
        self._connection: PipelineConnection | None = None
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
            self._connection = self._make_connection()
            await self._connection.connect()
            self._protocol = self._connection.hand_over()
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
