"""redis-py's clients, mended where they would hand a dead connection to a caller, leave one open or hide a failure."""

import asyncio
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, cast

import redis
import redis.sentinel
from redis.asyncio import Redis
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from kiqstart.redis.demotion import DemotionNotingConnection
from kiqstart.redis.forks import ForkSafeConnection
from kiqstart.redis.refusals import RefusalReadingConnection
from kiqstart.redis.url import Node

_SECONDS_BETWEEN_LOOKS = 1.0
# A command waits no longer for an answer of the Sentinels, since they may be away while the master is not.
_SECONDS_TO_LOOK = 0.2
# What Sentinels tell of each service by name.
_Masters = dict[str, dict[str, str | int]]


class CheckedConnection(DemotionNotingConnection, RefusalReadingConnection, ForkSafeConnection):
    """Is replaced where it turns out to be dead after an idle time: until then, only a PING was sent on it."""

    async def on_connect_check_health(self, check_health: bool = True) -> None:  # noqa: ARG002  # redis-py's signature
        """Check nothing: the handshake is check enough, and another one within it would begin it anew."""
        await super().on_connect_check_health(check_health=False)

    async def check_health(self) -> None:
        """Connect anew where a PING is not answered."""
        try:
            await super().check_health()
        except (RedisConnectionError, RedisTimeoutError):
            await self.connect()

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        """Send a command, and be cancelled meanwhile."""
        # Before Python 3.12 `asyncio.wait_for`, as redis-py calls it here, may lose a cancellation.
        task = asyncio.current_task()
        before = 0 if task is None else task.cancelling()
        await super().send_packed_command(command, check_health)
        if task is not None and task.cancelling() > before:
            # Nobody will read the answer.
            await self.disconnect(nowait=True)
            raise asyncio.CancelledError


class CheckedServerConnection(CheckedConnection, Connection):
    """To one server."""


class CheckedTlsConnection(CheckedConnection, SSLConnection):
    """To one server, with TLS."""


class CheckedUnixConnection(CheckedConnection, UnixDomainSocketConnection):
    """To one server, through a socket of this machine."""


class CheckedMasterConnection(CheckedConnection, SentinelManagedConnection):
    """To the master that the Sentinels name."""


class CheckedTlsMasterConnection(CheckedConnection, SentinelManagedSSLConnection):
    """To the master that the Sentinels name, with TLS."""


class AsyncSentinels(Sentinel):
    """Says in one line why there is no master.

    Args:
        nodes: the Sentinels.
        arguments: those of the connections to them.
    """

    def __init__(self, nodes: Iterable[Node], *, tls: bool, **arguments: Any) -> None:  # noqa: ANN401  # redis-py's own
        super().__init__([])
        connection_class = CheckedTlsConnection if tls else CheckedServerConnection
        self.sentinels = [
            Redis.from_pool(ConnectionPool(connection_class=connection_class, host=host, port=port, **arguments))
            for host, port in nodes
        ]

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """Ask the Sentinels in turn where the master is."""
        reasons: list[str] = []
        for place, sentinel in enumerate(self.sentinels):
            try:
                masters = cast("_Masters", await sentinel.sentinel_masters())
            except (RedisConnectionError, RedisTimeoutError) as error:
                reasons.append(str(error))
                continue
            state = masters.get(service_name, {})
            if state and self.check_master_state(state, service_name):
                # Who has answered is asked first the next time.
                self.sentinels[0], self.sentinels[place] = sentinel, self.sentinels[0]
                return str(state["ip"]), int(state["port"])
        raise MasterNotFoundError(_no_master(service_name, reasons))


class AsyncSentinelPool(SentinelConnectionPool):
    """Leaves a master that the Sentinels no longer name, within a second or so.

    That one goes on taking commands until it is told, 8 s after a planned failover, and then drops what it has taken.
    """

    _look: asyncio.Task[None] | None = None
    _looked_at = float("-inf")

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        """Connect to the master, where the connection is none or one to its predecessor."""
        if connection.is_connected:
            await self._look_for_failover()
            place = cast("Connection", connection)
            if self.master_address not in (None, (place.host, place.port)):
                await connection.disconnect()
        await super().ensure_connection(connection)

    async def _look_for_failover(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._look is None or self._look.done():
            if now - self._looked_at < _SECONDS_BETWEEN_LOOKS:
                return
            self._looked_at = now
            self._look = asyncio.create_task(self._ask_sentinels(), name="failover")
        await asyncio.wait({self._look}, timeout=max(self._looked_at + _SECONDS_TO_LOOK - now, 0))

    async def _ask_sentinels(self) -> None:
        # As long as no Sentinel answers, the master is the one that it was.
        with suppress(RedisConnectionError, RedisTimeoutError):
            self.master_address = await self.sentinel_manager.discover_master(self.service_name)

    async def aclose(self) -> None:
        """Close every connection, those to the Sentinels too."""
        if self._look is not None:
            self._look.cancel()
            await asyncio.wait({self._look})
        await super().aclose()
        await self.sentinel_manager.aclose()


class Sentinels(redis.sentinel.Sentinel):
    """Says in one line why there is no master."""

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Ask the Sentinels in turn where the master is."""
        reasons: list[str] = []
        sentinels = self.sentinels
        for place, sentinel in enumerate(sentinels):
            try:
                masters = cast("_Masters", sentinel.sentinel_masters())
            except (RedisConnectionError, RedisTimeoutError) as error:
                reasons.append(str(error))
                continue
            state = masters.get(service_name, {})
            if state and self.check_master_state(state, service_name):
                sentinels[0], sentinels[place] = sentinel, sentinels[0]
                return str(state["ip"]), int(state["port"])
        raise redis.sentinel.MasterNotFoundError(_no_master(service_name, reasons))


class SentinelPool(redis.sentinel.SentinelConnectionPool):
    """Leaves a master that the Sentinels no longer name, as `AsyncSentinelPool` does."""

    _look: threading.Thread | None = None
    _looked_at = float("-inf")

    def get_connection(self, *_: object, **__: object) -> redis.Connection:
        """A connection to the master."""
        self._look_for_failover()
        while True:
            connection = super().get_connection()
            if self.master_address in (None, (connection.host, connection.port)):
                return connection
            # Its predecessor's; the pool takes none of these back.
            self.release(connection)

    def _look_for_failover(self) -> None:
        # In a thread of its own: a Sentinel that hangs must not hold up a beat.
        now = time.monotonic()
        if self._look is None or not self._look.is_alive():
            if now - self._looked_at < _SECONDS_BETWEEN_LOOKS:
                return
            self._looked_at = now
            self._look = threading.Thread(target=self._ask_sentinels, name="failover", daemon=True)
            self._look.start()
        self._look.join(max(self._looked_at + _SECONDS_TO_LOOK - now, 0))

    def _ask_sentinels(self) -> None:
        with suppress(RedisConnectionError, RedisTimeoutError):
            self.proxy.master_address = self.sentinel_manager.discover_master(self.service_name)

    def close(self) -> None:
        """Close every connection, those to the Sentinels too."""
        super().close()
        for sentinel in cast("list[redis.Redis]", self.sentinel_manager.sentinels):
            sentinel.close()


def _no_master(service: str, reasons: Iterable[str]) -> str:
    return "; ".join([f"no Sentinel names a living master of {service!r}", *(reason.rstrip(".") for reason in reasons)])
