"""redis-py's clients, mended where they would hand a dead connection to a caller, leave one open or hide a failure."""

from collections.abc import Iterable
from typing import cast

import redis
import redis.sentinel
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection
from redis.asyncio.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

# What Sentinels tell of each service by name.
_Masters = dict[str, dict[str, str | int]]


class CheckedConnection(AbstractConnection):
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


class CheckedServerConnection(CheckedConnection, Connection):
    """To one server."""


class CheckedTlsConnection(CheckedConnection, SSLConnection):
    """To one server, with TLS."""


class CheckedMasterConnection(CheckedConnection, SentinelManagedConnection):
    """To the master that the Sentinels name."""


class CheckedTlsMasterConnection(CheckedConnection, SentinelManagedSSLConnection):
    """To the master that the Sentinels name, with TLS."""


class AsyncSentinels(Sentinel):
    """Says in one line why there is no master."""

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
    """Closes its connections to the Sentinels with those to the master."""

    async def aclose(self) -> None:
        """Close every connection."""
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
    """Closes its connections to the Sentinels with those to the master."""

    def close(self) -> None:
        """Close every connection."""
        super().close()
        for sentinel in cast("list[redis.Redis]", self.sentinel_manager.sentinels):
            sentinel.close()


def _no_master(service: str, reasons: Iterable[str]) -> str:
    return "; ".join([f"no Sentinel names a living master of {service!r}", *(reason.rstrip(".") for reason in reasons)])
