"""Messages of any number of channels, over one connection."""

import asyncio
from collections.abc import Iterable
from logging import getLogger
from typing import Final, Protocol, cast

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from kiqstart.processes.forks import tell_of_forks
from kiqstart.redis.raw_connection import DetachedTransport, RawConnection, TakenOverProtocol, pack
from kiqstart.redis.routes import Connector

logger = getLogger(__name__)

# After so long without a message the server has to answer a PING, within as long again.
_SECONDS_TO_HEAR: Final = 5.0
# Channels that are no longer wanted are left together.
_SECONDS_TO_LEAVE: Final = 0.05
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0


class Listener(Protocol):
    """What hears the messages."""

    def on_listening(self, channel: str) -> None:
        """From now on no message of the channel is missed while the connection lives."""

    def on_message(self, channel: str, message: bytes) -> None:
        """A message has arrived."""

    def on_lost(self) -> None:
        """From now on messages are missed, until `on_listening` says otherwise."""


class _MessageProtocol(TakenOverProtocol):
    """Hands messages on."""

    def __init__(self, connection: DetachedTransport, owner: "Subscription") -> None:
        super().__init__(connection)
        self._owner = owner

    def on_reply(self, reply: object) -> None:
        """A message, or the answer to SUBSCRIBE, UNSUBSCRIBE or PING."""
        if isinstance(reply, Exception):
            self._owner.on_refused(reply)
            return
        if not isinstance(reply, list):  # RESP3's answer to PING
            return
        kind, *rest = cast("list[bytes]", reply)
        if kind == b"message":
            self._owner.listener.on_message(rest[0].decode(), rest[1])
        elif kind == b"subscribe":
            self._owner.on_subscribed(rest[0].decode())

    def on_lost(self, error: Exception) -> None:
        """Let it be replaced."""
        self._owner.on_lost(error)


class Subscription:
    """Hears the channels that it was told to hear; where the connection is lost, a new one takes its place.

    Messages that are sent in between are missed, as with every subscription of Redis: `on_listening` tells, for each
    channel, from when on none is.

    Args:
        route: to the server.
        listener: is called in this event loop.
    """

    def __init__(self, route: Connector, listener: Listener) -> None:
        self.listener = listener
        self._route = route
        self._wanted: set[str] = set()
        self._heard: set[str] = set()
        self._joining: list[str] = []
        self._leaving: set[str] = set()
        self._protocol: _MessageProtocol | None = None
        self._connection: RawConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_asked = False
        self._is_refused = False
        self._is_complained_of = False
        self._is_closed = False
        self._tries = 0
        self._connected_at = 0.0
        tell_of_forks(self)

    @property
    def is_refused(self) -> bool:
        """Whether Redis has refused the last channels."""
        return self._is_refused

    def hears(self, channel: str) -> bool:
        """Whether no message of the channel is missed, as far as is known."""
        return channel in self._heard

    def join(self, channel: str) -> None:
        """Hear a channel."""
        self._wanted.add(channel)
        self._leaving.discard(channel)
        if self._protocol is None:
            self._connect_soon(channel)
            return
        if self._is_refused:
            # Until the next connection, Redis would refuse this one too.
            asyncio.get_running_loop().call_soon(self.listener.on_listening, channel)
            return
        self._joining.append(channel)
        if len(self._joining) == 1:
            asyncio.get_running_loop().call_soon(self._join_all)

    def leave(self, channel: str) -> None:
        """Hear a channel no longer."""
        self._wanted.discard(channel)
        self._heard.discard(channel)
        self._leaving.add(channel)
        if len(self._leaving) == 1:
            asyncio.get_running_loop().call_later(_SECONDS_TO_LEAVE, self._leave_all)

    def on_lost(self, error: Exception) -> None:
        """Take note that the connection is gone."""
        logger.debug("Messages are not heard for now: %s", error)
        self._protocol = None
        self._heard.clear()
        self.listener.on_lost()
        if asyncio.get_running_loop().time() - self._connected_at > _SECONDS_TO_HEAR:
            self._tries = 0
        if self._wanted:
            self._connect_soon(next(iter(self._wanted)))

    def on_subscribed(self, channel: str) -> None:
        """Take note that a channel is heard."""
        self._is_refused = False
        if channel in self._wanted:
            self._heard.add(channel)
            self.listener.on_listening(channel)

    def on_refused(self, error: Exception) -> None:
        """Redis lets nobody listen: whoever waits has to look."""
        if not self._is_complained_of:
            logger.warning("Redis refuses SUBSCRIBE, so that messages are looked for once a second: %s", error)
        self._is_complained_of = True
        if self._is_refused:
            # Those that are waiting know; otherwise each new one would make all of them look.
            return
        self._is_refused = True
        for channel in self._wanted - self._heard:
            self.listener.on_listening(channel)

    def reconnect(self) -> None:
        """Leave a server that is not the right one any more."""
        if self._protocol is not None:
            self._protocol.abort(RedisConnectionError("the server is no master now"))

    def after_fork(self) -> None:
        """In a child, nobody listens by way of what is the parent's."""
        self._is_closed = True
        self._wanted.clear()
        self._protocol = None
        if self._timer is not None:
            self._timer.cancel()

    async def aclose(self) -> None:
        """Let the connection go."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        await self._disconnect()
        await self._route.aclose()

    def _connect_soon(self, channel: str) -> None:
        if self._connecting is None and not self._is_closed:
            self._connecting = asyncio.create_task(self._connect(channel), name="subscription")

    async def _connect(self, channel: str) -> None:
        try:
            while self._wanted and self._protocol is None:
                if self._tries:
                    await asyncio.sleep(min(_FIRST_PAUSE * 2.0 ** min(self._tries, 10), _LONGEST_PAUSE))
                self._tries += 1
                try:
                    await self._disconnect()
                    self._connection = await self._route.connect(channel)
                    self._protocol = _MessageProtocol(self._connection.hand_over(), self)
                except Exception as error:  # noqa: BLE001  # whatever it is, later messages have to be heard
                    logger.debug("Messages are not heard for now: %s", error)
        finally:
            self._connecting = None
        self._connected_at = asyncio.get_running_loop().time()
        self._is_refused = False
        self._joining = list(self._wanted)
        self._leaving.clear()
        self._join_all()
        self._listen_for(_SECONDS_TO_HEAR)

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    def _join_all(self) -> None:
        self._send("SUBSCRIBE", self._joining)
        self._joining = []

    def _leave_all(self) -> None:
        self._send("UNSUBSCRIBE", self._leaving)
        self._leaving = set()

    def _send(self, command: str, channels: Iterable[str]) -> None:
        names = list(channels)
        if names and self._protocol is not None:
            self._protocol.write(pack(command, *names))

    def _listen_for(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        protocol = self._protocol
        if protocol is None or self._is_closed:
            return
        silence = asyncio.get_running_loop().time() - protocol.heard_at
        if silence < _SECONDS_TO_HEAR:
            self._is_asked = False
            self._listen_for(_SECONDS_TO_HEAR - silence)
        elif self._is_asked:
            self._is_asked = False
            protocol.abort(RedisTimeoutError("no answer to a PING"))
        else:
            self._is_asked = True
            protocol.write(pack("PING"))
            self._listen_for(_SECONDS_TO_HEAR)
