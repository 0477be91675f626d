"""One connection on which the commands of many callers travel together.

redis-py gives each command a connection of its own and awaits its answer there: that costs more than all that a task
queue does beside. Here, what is asked for in one turn of the event loop is one write, and answers are matched by their
order.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from kiqstart.processes.forks import tell_of_forks
from kiqstart.redis.commands import Value
from kiqstart.redis.demotion import is_demotion
from kiqstart.redis.raw_connection import (
    DetachedTransport,
    RawConnection,
    TakenOverProtocol,
    pack,
)

# Bytes of a command from which on it waits for no others.
_LARGE: Final = 16_384
# A loop that was blocked may call a timer before it reads what has arrived meanwhile, or even sends what was asked. So
# a connection is given up only when it was still silent after several further turns.
_FURTHER_TURNS: Final = 5
_SECONDS_BETWEEN_TURNS: Final = 0.02
_CLOSED: Final = "the client is closed"
_INHERITED: Final = "this connection is the parent's of this process, which was forked while it was in use"


class AnswerProtocol(TakenOverProtocol):
    """Writes commands and matches answers, in order, while the connection lives.

    Args:
        on_demoted: is called where the server answers that it is a master no more; the connection then ends.
    """

    def __init__(self, connection: DetachedTransport, on_demoted: Callable[[], None]) -> None:
        super().__init__(connection)
        self._on_demoted = on_demoted
        self._is_demoted = False
        self._out: list[bytes] = []
        self._waiting: deque[asyncio.Future[object]] = deque()

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is outstanding."""
        return bool(self._waiting)

    def send(self, command: bytes, answer: "asyncio.Future[object]") -> None:
        """Send a packed command with all others of this turn of the event loop."""
        self._out.append(command)
        if not self._waiting:
            self.heard_at = self._loop.time()
        self._waiting.append(answer)
        if len(command) > _LARGE:
            self._flush()
        elif len(self._out) == 1:
            self._loop.call_soon(self._flush)

    def on_reply(self, reply: object) -> None:
        """Hand an answer to the caller whose turn it is; what RESP3 pushes in between is nobody's."""
        if type(reply) is hiredis.PushNotification:
            return
        answer = self._waiting.popleft()
        if isinstance(reply, Exception) and not self._is_demoted and is_demotion(reply):
            self._is_demoted = True
            # The same read may bring further answers.
            self._loop.call_soon(self._leave_demoted, RedisConnectionError(f"the server is no master now: {reply}"))
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

    def _leave_demoted(self, error: Exception) -> None:
        if not self.is_lost:
            self.abort(error)
            self._on_demoted()

    def _flush(self) -> None:
        commands, self._out = self._out, []
        if commands and not self.is_lost:
            self.write(b"".join(commands))


class MultiplexedClient:
    """A client with one connection, opened by the first command and anew after it was lost or its server demoted.

    Nothing is sent twice: a command whose connection is lost fails, and may have been run. A caller that is cancelled
    leaves its command on the way.

    Args:
        connect: opens a connection.
        timeout: seconds in which nothing comes and nothing of a large command leaves, while an answer is outstanding,
            after which the connection is given up.
    """

    # Called when the server turned out to be a master no more, which other connections to it may not notice.
    on_demoted: Callable[[], None] | None = None

    def __init__(self, connect: Callable[[], Awaitable[RawConnection]], *, timeout: float) -> None:
        self._open = connect
        self._timeout = timeout
        self._protocol: AnswerProtocol | None = None
        self._connection: RawConnection | None = None
        self._backlog: list[tuple[bytes, asyncio.Future[object]]] = []
        self._connecting: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_inherited = False
        tell_of_forks(self)

    def execute_command(self, *command: Value) -> "asyncio.Future[object]":
        """Send a command; its answer, or a `RedisError`, is the future's.

        Raises:
            TypeError, UnicodeEncodeError: a part of it is nothing that can be sent; the others' commands are.
        """
        packed = pack(*command)
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        protocol = self._protocol
        if self._is_inherited:
            answer.set_exception(RedisError(_INHERITED))
        elif protocol is None or protocol.is_lost:
            self._backlog.append((packed, answer))
            if self._connecting is None:
                self._connecting = asyncio.create_task(self._connect(), name="redis connection")
                self._connecting.add_done_callback(self._after_connecting)
        else:
            protocol.send(packed, answer)
            if self._timer is None:
                self._set_timer(self._timeout)
        return answer

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Value) -> "asyncio.Future[object]":
        """Run a script that Redis knows."""
        return self.execute_command("EVALSHA", sha, numkeys, *keys_and_args)

    def eval(self, script: str, numkeys: int, *keys_and_args: Value) -> "asyncio.Future[object]":
        """Run a script, and let Redis remember it."""
        return self.execute_command("EVAL", script, numkeys, *keys_and_args)

    def reconnect(self) -> None:
        """Leave a server that is not the right one any more; what is outstanding becomes an error."""
        if self._protocol is not None and not self._protocol.is_lost:
            self._protocol.abort(RedisConnectionError("the server is no master now"))

    def after_fork(self) -> None:
        """In a child, all that was under way is the parent's: whoever waits for it here gets an error."""
        self._is_inherited = True
        if self._timer is not None:
            self._timer.cancel()
        error = RedisError(_INHERITED)
        self._fail_backlog(error)
        if self._protocol is not None:
            self._protocol.is_lost = True
            self._protocol.on_lost(error)

    async def aclose(self) -> None:
        """Let the connection go; answers that are outstanding become errors."""
        error = RedisConnectionError(_CLOSED)
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        self._fail_backlog(error)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._protocol is not None:
            self._protocol.abort(error)
        await self._disconnect(nowait=False)

    async def _connect(self) -> None:
        try:
            await self._disconnect(nowait=True)
            self._connection = await self._open()
            protocol = self._protocol = AnswerProtocol(self._connection.hand_over(), self._tell_of_demotion)
        except Exception as error:  # noqa: BLE001  # handed to those who wait
            self._fail_backlog(error)
            return
        finally:
            self._connecting = None
        backlog, self._backlog = self._backlog, []
        for command, answer in backlog:
            if not answer.done():
                protocol.send(command, answer)
        if self._timer is None:
            self._set_timer(self._timeout)

    def _after_connecting(self, connecting: asyncio.Task[None]) -> None:
        # An event loop that ends cancels all that runs in it; this may not even have had the time to begin.
        if connecting.cancelled():
            self._connecting = None
            self._fail_backlog(RedisConnectionError(_CLOSED))

    def _tell_of_demotion(self) -> None:
        if self.on_demoted is not None:
            self.on_demoted()

    def _fail_backlog(self, error: Exception) -> None:
        backlog, self._backlog = self._backlog, []
        for _, answer in backlog:
            if not answer.done():
                answer.set_exception(error)

    async def _disconnect(self, *, nowait: bool) -> None:
        connection, self._connection, self._protocol = self._connection, None, None
        if connection is not None:
            await connection.disconnect(nowait=nowait)

    def _set_timer(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self, turns: int = 0) -> None:
        self._timer = None
        protocol = self._protocol
        if protocol is None or not protocol.is_waiting:
            return
        loop = asyncio.get_running_loop()
        protocol.notice_progress()
        left = protocol.heard_at + self._timeout - loop.time()
        if left > 0:
            self._set_timer(left)
        elif turns < _FURTHER_TURNS:
            self._timer = loop.call_later(_SECONDS_BETWEEN_TURNS, self._look, turns + 1)
        else:
            protocol.abort(RedisTimeoutError(f"no answer for {self._timeout:g} s"))
