"""Ways to a connection of one's own: to a server, to the master behind Sentinels, or to a node of a cluster."""

from collections.abc import Callable
from typing import Protocol, cast

from redis.asyncio.cluster import RedisCluster
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError

from kiqstart.redis.raw_connection import RawConnection


class Connector(Protocol):
    """A way to Redis, as its URL says."""

    async def connect(self, key: str) -> RawConnection:
        """A connection to the server that has a key now; it is to be closed with `disconnect()`.

        Raises:
            RedisError: none can be reached, or none lets us in.
        """
        ...

    async def aclose(self) -> None:
        """Let go what was needed to find the way."""


class ServerConnector:
    """To one server.

    Args:
        make: gives a connection, not yet connected.
    """

    def __init__(self, make: Callable[[], RawConnection]) -> None:
        self._make = make

    async def connect(self, key: str) -> RawConnection:  # noqa: ARG002  # a server has all keys
        """A connection to the server."""
        return await _connected(self._make())

    async def aclose(self) -> None:
        """There is nothing to let go."""


class SentinelConnector:
    """To the master that the Sentinels name.

    Args:
        pool: knows the Sentinels; it is this route's own.
    """

    def __init__(self, pool: SentinelConnectionPool) -> None:
        self._pool = pool

    async def connect(self, key: str) -> RawConnection:  # noqa: ARG002  # a master has all keys
        """A connection to the master of this moment."""
        return await _connected(cast("RawConnection", self._pool.make_connection()))

    async def aclose(self) -> None:
        """Close the connections to the Sentinels."""
        await self._pool.aclose()


class ClusterConnector:
    """To the node of a cluster that serves a key.

    Args:
        cluster: knows the nodes; it is this route's own.
        make: gives a connection to a host and a port, not yet connected.
    """

    def __init__(self, cluster: RedisCluster, make: Callable[[str, int], RawConnection]) -> None:
        self._cluster = cluster
        self._make = make

    async def connect(self, key: str) -> RawConnection:
        """A connection to the node that serves the key at this moment."""
        # What the cluster said before may be old, and this was lost.
        await self._cluster.aclose()
        await self._cluster.initialize()
        node = self._cluster.get_node_from_key(key)
        if node is None:
            raise RedisConnectionError(f"no node of the cluster serves {key}")
        return await _connected(self._make(node.host, int(node.port)))

    async def aclose(self) -> None:
        """Close the connections to the nodes."""
        await self._cluster.aclose()


async def _connected(connection: RawConnection) -> RawConnection:
    try:
        await connection.connect()
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return connection
