"""redis-py's clients, mended where they would hand a dead connection to a caller, leave one open or hide a failure."""

from collections.abc import Iterable
from typing import Any, cast

import redis
import redis.cluster
import redis.sentinel
from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode, ClusterPubSub
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection
from redis.asyncio.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException, SlotNotCoveredError
from redis.exceptions import TimeoutError as RedisTimeoutError

from kiqstart.infrastructure.redis.url import Node

# What Sentinels tell of each service by name.
_Masters = dict[str, dict[str, str | int]]
_OUTAGES = ("Redis Cluster cannot be connected", "All slots are not covered")


class _CheckedConnection(AbstractConnection):
    """Is replaced where it turns out to be dead after an idle time: until then, only a PING was sent on it."""

    async def on_connect_check_health(self, check_health: bool = True) -> None:  # noqa: ARG002  # redis-py's signature
        # The handshake is check enough; another within it would begin it anew.
        await super().on_connect_check_health(check_health=False)

    async def check_health(self) -> None:
        try:
            await super().check_health()
        except (RedisConnectionError, RedisTimeoutError):
            await self.connect()


class _CheckedClusterConnection(_CheckedConnection):
    """Is replaced where the server has closed it, too: a pool sees that, the cluster's client does not look."""

    async def check_health(self) -> None:
        if await self.can_read():
            await self.disconnect(nowait=True)
            await self.connect()
        await super().check_health()


class CheckedServerConnection(_CheckedConnection, Connection):
    """To one server."""


class CheckedTlsConnection(_CheckedConnection, SSLConnection):
    """To one server, with TLS."""


class CheckedMasterConnection(_CheckedConnection, SentinelManagedConnection):
    """To the master that the Sentinels name."""


class CheckedTlsMasterConnection(_CheckedConnection, SentinelManagedSSLConnection):
    """To the master that the Sentinels name, with TLS."""


class _ClusterConnection(_CheckedClusterConnection, Connection):
    """To a node of a cluster."""


class _TlsClusterConnection(_CheckedClusterConnection, SSLConnection):
    """To a node of a cluster, with TLS."""


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


class _AsyncClusterSubscription(ClusterPubSub):
    """Asks for the cluster's nodes where they are not known yet."""

    async def execute_command(self, *args: Any) -> Any:  # noqa: ANN401  # redis-py's own
        await self.cluster.initialize()
        return await super().execute_command(*args)


class AsyncCluster(RedisCluster):
    """Raises redis-py's ConnectionError where the cluster cannot be reached, and closes all that it opened."""

    def __init__(self, nodes: Iterable[Node], *, tls: bool, **options: Any) -> None:  # noqa: ANN401  # redis-py's own
        super().__init__(startup_nodes=[ClusterNode(*node) for node in nodes], ssl=tls, **options)
        # There is no argument for the class of the connections.
        connection_class = _TlsClusterConnection if tls else _ClusterConnection
        self.connection_kwargs["connection_class"] = connection_class
        for node in self.nodes_manager.startup_nodes.values():
            node.connection_class = connection_class

    async def initialize(
        self,
        additional_startup_nodes_info: list[tuple[str, int]] | None = None,
        last_failed_node_name: str | None = None,
    ) -> "AsyncCluster":
        """Ask the nodes who serves which slot, where that is not known."""
        try:
            await super().initialize(additional_startup_nodes_info, last_failed_node_name)
        except RedisClusterException as error:
            raise RedisConnectionError(str(error)) from error
        return self

    def pubsub(
        self,
        node: ClusterNode | None = None,
        host: str | None = None,
        port: int | None = None,
        **options: Any,  # noqa: ANN401
    ) -> ClusterPubSub:
        """A subscription, at `node` or at the one that serves the channel's slot: any node passes messages on."""
        return _AsyncClusterSubscription(self, node=node, host=host, port=port, **options)

    async def aclose(self) -> None:
        """Close every connection, after a failure too: redis-py forgets them while it does not know the slots."""
        await super().aclose()
        await self.nodes_manager.aclose()
        await self.nodes_manager.aclose("startup_nodes")


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


class Cluster(redis.RedisCluster):
    """Raises redis-py's ConnectionError where the cluster cannot be reached. It connects when it is made."""

    def __init__(self, nodes: Iterable[Node], *, tls: bool, **options: Any) -> None:  # noqa: ANN401  # redis-py's own
        try:
            super().__init__(startup_nodes=[redis.cluster.ClusterNode(*node) for node in nodes], ssl=tls, **options)
        except RedisClusterException as error:
            raise RedisConnectionError(str(error)) from error

    def execute_command(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # redis-py's own
        """Run a command on the node that serves its keys."""
        try:
            return cast("Any", super().execute_command(*args, **kwargs))
        except RedisClusterException as error:
            # Others of this class say that the command is wrong, as with keys of two slots.
            if isinstance(error, SlotNotCoveredError) or str(error).startswith(_OUTAGES):
                raise RedisConnectionError(str(error)) from error
            raise


def _no_master(service: str, reasons: Iterable[str]) -> str:
    return "; ".join([f"no Sentinel names a living master of {service!r}", *(reason.rstrip(".") for reason in reasons)])
