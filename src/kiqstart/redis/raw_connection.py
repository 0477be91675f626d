"""Connections whose bytes go straight to a protocol of asyncio, once redis-py has connected and logged in."""

import asyncio
import fcntl
import struct
import termios
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import hiredis
from redis.asyncio.connection import (
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse

from kiqstart.redis.commands import Value
from kiqstart.redis.forks import ForkSafeConnection
from kiqstart.redis.refusals import RefusalReadingConnection

if TYPE_CHECKING:
    import socket


# Bytes from which on a command takes its time to leave on a slow link; smaller ones have left once they are written.
_SLOW_TO_LEAVE: Final = 65_536
# hiredis' answer for "not yet": none of Redis' own values.
_INCOMPLETE: Final = object()
_C_INT: Final = struct.Struct("i")
# hiredis' own annotation allows a single value only.
_pack: Final = cast("Callable[[tuple[Value, ...]], bytes]", hiredis.pack_command)


def pack(*command: Value) -> bytes:
    """A command as Redis reads it."""
    return _pack(command)


@dataclass(frozen=True, slots=True)
class DetachedTransport:
    """What a protocol needs to take a connection over.

    Args:
        transport: connected and logged in.
        predecessor: redis-py's protocol, which has to learn that the connection is closed.
        parse_error: makes redis-py's errors of the server's.
    """

    transport: asyncio.WriteTransport
    predecessor: asyncio.BaseProtocol
    parse_error: Callable[[str], Exception]


class RawConnection(RefusalReadingConnection, ForkSafeConnection):
    """Connects and logs in as redis-py does, then leaves its transport to another protocol."""

    def hand_over(self) -> DetachedTransport:
        """Give the transport away; this object still closes it, with `disconnect()`."""
        writer = self._writer
        if writer is None:
            raise RedisConnectionError("not connected")
        parse_error = cast("Callable[[str], Exception]", self._parser.parse_error)
        return DetachedTransport(writer.transport, writer.transport.get_protocol(), parse_error)


class RawServerConnection(RawConnection, Connection):
    """To one server."""


class RawTlsConnection(RawConnection, SSLConnection):
    """To one server, with TLS."""


class RawUnixConnection(RawConnection, UnixDomainSocketConnection):
    """To one server, through a socket of this machine."""


class RawMasterConnection(RawConnection, SentinelManagedConnection):
    """To the master that the Sentinels name."""


class RawTlsMasterConnection(RawConnection, SentinelManagedSSLConnection):
    """To the master that the Sentinels name, with TLS."""


class TakenOverProtocol(asyncio.Protocol):
    """Reads what Redis sends on a connection that was handed over."""

    def __init__(self, connection: DetachedTransport) -> None:
        self._transport = connection.transport
        self._predecessor = connection.predecessor
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse, replyError=connection.parse_error, notEnoughData=_INCOMPLETE
        )
        self._loop = asyncio.get_running_loop()
        self.heard_at = self._loop.time()
        self.is_lost = False
        self._written = 0
        # Of these it is no news that they have left.
        self._known_to_leave = 0
        connection.transport.set_protocol(self)

    @abstractmethod
    def on_reply(self, reply: object) -> None:
        """Take a reply, which may be an error."""

    @abstractmethod
    def on_lost(self, error: Exception) -> None:
        """Take note that nothing will come any more."""

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self._written += len(data)
        if len(data) < _SLOW_TO_LEAVE:
            self._known_to_leave += len(data)
        self._transport.write(data)

    def notice_progress(self) -> None:
        """Take it for a sign of life where a part of something large has left since this was last called."""
        left = self._written - self._transport.get_write_buffer_size() - _bytes_on_their_way(self._transport)
        if left > self._known_to_leave:
            self._known_to_leave = left
            self.heard_at = self._loop.time()

    def abort(self, error: Exception) -> None:
        """Give the connection up."""
        self._transport.abort()
        self._lose(error)

    def data_received(self, data: bytes) -> None:
        """Take whole replies out of what has arrived."""
        self.heard_at = self._loop.time()
        reader = self._reader
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _INCOMPLETE:
                self.on_reply(reply)
        except (InvalidResponse, IndexError) as error:
            self.abort(RedisConnectionError(f"the server does not speak Redis' protocol: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell redis-py, whose writer waits for that, and whoever waits for replies."""
        self._predecessor.connection_lost(exc)
        self._lose(RedisConnectionError(f"connection lost: {exc}" if exc else "Connection closed by server."))

    def _lose(self, error: Exception) -> None:
        if not self.is_lost:
            self.is_lost = True
            self.on_lost(error)


def _bytes_on_their_way(transport: asyncio.BaseTransport) -> int:
    """What the system has taken, and the other end has not acknowledged: megabytes, where a link is slow."""
    held: socket.socket | None = transport.get_extra_info("socket")
    try:
        answer = fcntl.ioctl(-1 if held is None else held.fileno(), termios.TIOCOUTQ, bytes(_C_INT.size))
    except (OSError, ValueError):
        return 0
    number: int = _C_INT.unpack(answer)[0]
    return number
