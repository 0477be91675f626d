"""From a Redis URL to clients: of one server, of the master behind Sentinels, or of a cluster."""

import socket
from functools import cache
from typing import Any, Final, cast

import redis
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import SentinelManagedConnection
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.retry import Retry

from kiqstart.observability.redaction import conceal
from kiqstart.redis.clients import (
    AsyncSentinelPool,
    AsyncSentinels,
    CheckedMasterConnection,
    CheckedServerConnection,
    CheckedTlsConnection,
    CheckedTlsMasterConnection,
    CheckedUnixConnection,
    SentinelPool,
    Sentinels,
)
from kiqstart.redis.cluster import AsyncCluster, Cluster
from kiqstart.redis.demotion import (
    DemotionPool,
    NotingServerConnection,
    NotingTlsConnection,
    NotingUnixConnection,
    SyncDemotionPool,
)
from kiqstart.redis.naming_client import NamingRedis
from kiqstart.redis.pipeline import MultiplexedClient
from kiqstart.redis.raw_connection import (
    RawConnection,
    RawMasterConnection,
    RawServerConnection,
    RawTlsConnection,
    RawTlsMasterConnection,
    RawUnixConnection,
)
from kiqstart.redis.routes import ClusterConnector, Connector, SentinelConnector, ServerConnector
from kiqstart.redis.subscription import Listener, Subscription
from kiqstart.redis.url import (
    InvalidRedisOptionError,
    InvalidRedisUrlError,
    check_keywords,
    parse_redis_url,
)

__all__ = ["InvalidRedisOptionError", "InvalidRedisUrlError", "MultiplexedClient", "RedisConnections"]

_MAX_CONNECTIONS: Final = 100
# redis-py gives a command and its answer a single span each, however much of them has moved.
_MORE_TIME_FOR_LARGE: Final = 12
# Idle seconds after which a connection proves itself with a PING before it carries a command.
_HEALTH_CHECK_INTERVAL: Final = 30
# Probes keep an idle connection in the memory of firewalls and NATs, and end one whose other end is gone after 45 s.
# Absent names are those that the platform does not have.
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 45_000}


class RedisConnections:
    """How to reach one Redis, as its URL says: a server, the master behind Sentinels, or a cluster.

    Nothing below a client's caller retries: a command is sent once, and again only where a cluster's node has answered
    that it did not run it. Replies are bytes, and the same from every kind of client.

    Args:
        url: redis://, rediss://, unix://, sentinel://, sentinels://, cluster:// or clusters://.
        connect_timeout: seconds to wait for a connection, and for a Sentinel's answer.
        max_connections: of one client, to each node of a cluster; None: 100. A client that would need more raises
            redis-py's MaxConnectionsError.
        options: further arguments of redis-py's connections: `client_name`, `username`, `password`,
            `credential_provider`, `driver_info`, `health_check_interval` (seconds without a command after which a
            connection is tried with a PING; 0: never), `protocol` (2, the default, or 3) and `ssl_…`; those in the URL
            win.

    Raises:
        InvalidRedisOptionError: one line: an argument is not known, or does not fit.
        InvalidRedisUrlError: one line with what is wrong with the URL and how to write it.
    """

    def __init__(
        self, url: str, *, connect_timeout: float = 5.0, max_connections: int | None = None, **options: object
    ) -> None:
        self._url = parse_redis_url(url)
        for password in (self._url.password, self._url.sentinel_password, options.get("password")):
            conceal(str(password or ""), beside=f"{self._url.address} {self._url.username}")
        self._connect_timeout = connect_timeout
        self.max_connections = max_connections or _MAX_CONNECTIONS
        self._options: dict[str, Any] = {**check_keywords(options, self._url), **self._url.options}

    def __repr__(self) -> str:
        return f"RedisConnections({self.address!r})"

    @property
    def address(self) -> str:
        """The place for messages to operators: no user, no password."""
        return self._url.address

    @property
    def database(self) -> int:
        """The number of the database."""
        return self._url.db

    @property
    def is_cluster(self) -> bool:
        """Whether the keys of one command have to share a hash slot."""
        return self._url.kind == "cluster"

    def async_client(self, *, timeout: float | None) -> Redis | RedisCluster:
        """A client with connections of its own, to be closed with `aclose()`; nothing is connected yet.

        Args:
            timeout: seconds to wait for an answer, above the longest BLOCK; None: for ever.
        """
        arguments = self._arguments(timeout=timeout, retry=AsyncRetry(NoBackoff(), 0))
        arguments.setdefault("health_check_interval", _HEALTH_CHECK_INTERVAL)
        url = self._url
        if url.kind == "cluster":
            return AsyncCluster(url.nodes, tls=url.tls, **arguments)
        arguments["db"] = url.db
        if url.kind == "sentinel":
            master_class = CheckedTlsMasterConnection if url.tls else CheckedMasterConnection
            return NamingRedis.from_pool(self._sentinel_pool(master_class, arguments))
        if url.path:
            pool = DemotionPool(connection_class=CheckedUnixConnection, path=url.path, **arguments)
            return NamingRedis.from_pool(pool)
        server_class = CheckedTlsConnection if url.tls else CheckedServerConnection
        host, port = url.nodes[0]
        return NamingRedis.from_pool(DemotionPool(connection_class=server_class, host=host, port=port, **arguments))

    def pipeline(self, *, timeout: float) -> MultiplexedClient | Redis | RedisCluster:
        """A client for many callers at once, to be closed with `aclose()`; nothing is connected yet.

        To a single server it has one connection that all callers share. Behind Sentinels and on a cluster, where the
        right server is another one from time to time, it is `async_client`.

        Args:
            timeout: seconds to wait for an answer, above the longest BLOCK.
        """
        if self._url.kind != "server":
            return self.async_client(timeout=timeout)
        route = self.route(timeout=timeout)
        return MultiplexedClient(lambda: route.connect(""), timeout=timeout)

    def large_pipeline(self, *, timeout: float) -> MultiplexedClient | Redis | RedisCluster:
        """A `pipeline` for commands and answers of many megabytes.

        Args:
            timeout: seconds in which nothing moves. Behind Sentinels and on a cluster a command, and its answer, have
                twelve times as long.
        """
        return self.pipeline(timeout=timeout if self._url.kind == "server" else timeout * _MORE_TIME_FOR_LARGE)

    def route(self, *, timeout: float) -> Connector:
        """A way to connections whose bytes are read by a protocol of our own.

        Args:
            timeout: seconds to wait for each answer while connecting.
        """
        arguments = self._arguments(timeout=timeout, retry=AsyncRetry(NoBackoff(), 0))
        url = self._url
        if url.kind == "sentinel":
            master_class = RawTlsMasterConnection if url.tls else RawMasterConnection
            return SentinelConnector(self._sentinel_pool(master_class, {**arguments, "db": url.db}))
        del arguments["max_connections"]
        server_class = RawTlsConnection if url.tls else RawServerConnection

        def to(host: str, port: int) -> RawConnection:
            return server_class(host=host, port=port, db=url.db, **arguments)

        if url.kind == "cluster":
            cluster = AsyncCluster(url.nodes, tls=url.tls, **arguments)
            return ClusterConnector(cluster, to)
        if url.path:
            return ServerConnector(lambda: RawUnixConnection(path=url.path, db=url.db, **arguments))
        return ServerConnector(lambda: to(*url.nodes[0]))

    def subscription(self, listener: Listener) -> Subscription:
        """What hears channels, to be closed with `aclose()`; nothing is connected before the first one."""
        return Subscription(self.route(timeout=self._connect_timeout), listener)

    def sync_client(self, *, timeout: float) -> redis.Redis | redis.RedisCluster:
        """A client with connections of its own for use in a thread, to be closed with `close()`.

        Args:
            timeout: seconds to wait for an answer.

        Raises:
            redis.exceptions.ConnectionError: a cluster cannot be reached; other clients connect when they are used.
        """
        arguments = self._arguments(timeout=timeout, retry=Retry(NoBackoff(), 0))
        url = self._url
        if url.kind == "cluster":
            return Cluster(url.nodes, tls=url.tls, **arguments)
        arguments["db"] = url.db
        if url.kind == "sentinel":
            there = {**self._sentinel_arguments(retry=Retry(NoBackoff(), 0)), "ssl": url.tls}
            sentinels = Sentinels(url.nodes, sentinel_kwargs=there)
            return redis.Redis.from_pool(SentinelPool(url.service, sentinels, ssl=url.tls, **arguments))
        if url.path:
            return redis.Redis.from_pool(
                SyncDemotionPool(
                    connection_class=cast("type[redis.Connection]", NotingUnixConnection), path=url.path, **arguments
                )
            )
        host, port = url.nodes[0]
        noting_class = NotingTlsConnection if url.tls else NotingServerConnection
        return redis.Redis.from_pool(SyncDemotionPool(connection_class=noting_class, host=host, port=port, **arguments))

    def _sentinel_pool(
        self, connection_class: type[SentinelManagedConnection], arguments: dict[str, Any]
    ) -> AsyncSentinelPool:
        arguments_there = self._sentinel_arguments(retry=AsyncRetry(NoBackoff(), 0))
        sentinels = AsyncSentinels(self._url.nodes, tls=self._url.tls, **arguments_there)
        return AsyncSentinelPool(self._url.service, sentinels, connection_class=connection_class, **arguments)

    def _arguments(self, *, timeout: float | None, retry: AsyncRetry | Retry) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "socket_timeout": timeout,
            "socket_connect_timeout": self._connect_timeout,
            "retry": retry,
            "protocol": 2,
            "max_connections": self.max_connections,
            "driver_info": _driver_info(),
            **self._options,
        }
        if self._url.username or self._url.password:
            arguments |= {"username": self._url.username, "password": self._url.password}
        if not self._url.path:
            arguments |= {"socket_keepalive": True, "socket_keepalive_options": _keepalive_options()}
        return arguments

    def _sentinel_arguments(self, *, retry: AsyncRetry | Retry) -> dict[str, Any]:
        return {
            **self._arguments(timeout=self._connect_timeout, retry=retry),
            "username": self._url.sentinel_username,
            "password": self._url.sentinel_password,
            "credential_provider": None,
        }


@cache
def _driver_info() -> DriverInfo:
    """What redis-py says of itself; for each connection it would look for its version among the installed packages."""
    return DriverInfo()


def _keepalive_options() -> dict[int, int]:
    return {getattr(socket, name): value for name, value in _KEEPALIVE.items() if hasattr(socket, name)}
