"""By which answers a server shows that it is a master no more, or not yet: whoever hears one has to connect anew.

A planned failover leaves connections to the former master open. Behind a load balancer or a DNS name, only a new
connection leads to the new one.
"""

from typing import Any, Final, cast

import redis
from redis.asyncio.connection import AbstractConnection as AsyncConnection
from redis.asyncio.connection import ConnectionPool as AsyncConnectionPool
from redis.connection import AbstractConnection, ConnectionPool
from redis.exceptions import BusyLoadingError, MasterDownError, ReadOnlyError, RedisError, ResponseError

_CLASSES: Final = (ReadOnlyError, MasterDownError, BusyLoadingError)
# A script's error on Redis 6.2 has these behind a text of its own; for some redis-py has no class.
_CODES: Final = ("READONLY", "MASTERDOWN", "LOADING", "UNBLOCKED")


def is_demotion(error: BaseException) -> bool:
    """Whether the server that answers so cannot be written to, while another one may be."""
    return isinstance(error, _CLASSES) or (
        isinstance(error, ResponseError) and any(code in str(error) for code in _CODES)
    )


class DemotionNotingConnection(AsyncConnection):
    """Remembers for its pool that its server is a master no more."""

    is_demoted = False

    async def read_response(self, *arguments: Any, **options: Any) -> object:  # noqa: ANN401  # redis-py's own
        """Read an answer."""
        try:
            return cast("object", await super().read_response(*arguments, **options))
        except RedisError as error:
            self.is_demoted = self.is_demoted or is_demotion(error)
            raise


class DemotionPool(AsyncConnectionPool):
    """Replaces all its connections where one of them has shown that their server is a master no more."""

    async def release(self, connection: AsyncConnection) -> None:
        """Take a connection back."""
        demoted = connection if isinstance(connection, DemotionNotingConnection) and connection.is_demoted else None
        if demoted is not None:
            demoted.mark_for_reconnect()
        await super().release(connection)
        if demoted is not None:
            demoted.is_demoted = False
            await self.disconnect(inuse_connections=False)
            await self.update_active_connections_for_reconnect()


class _NotingConnection(AbstractConnection):
    """In a thread: remembers for its pool that its server is a master no more."""

    is_demoted = False

    def read_response(self, *arguments: Any, **options: Any) -> object:  # noqa: ANN401  # redis-py's own
        """Read an answer."""
        try:
            return cast("object", super().read_response(*arguments, **options))
        except RedisError as error:
            self.is_demoted = self.is_demoted or is_demotion(error)
            raise


class NotingServerConnection(_NotingConnection, redis.Connection):
    """To one server."""


class NotingTlsConnection(_NotingConnection, redis.SSLConnection):
    """To one server, with TLS."""


class NotingUnixConnection(_NotingConnection, redis.UnixDomainSocketConnection):
    """To one server, through a socket of this machine."""


class SyncDemotionPool(ConnectionPool):
    """In a thread: replaces its connections as `DemotionPool` does."""

    def release(self, connection: Any) -> None:  # noqa: ANN401  # redis-py's own
        """Take a connection back."""
        is_demoted = bool(connection.is_demoted)
        if is_demoted:
            connection.is_demoted = False
            connection.mark_for_reconnect()
        super().release(connection)
        if is_demoted:
            self.disconnect(inuse_connections=False)
