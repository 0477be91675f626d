"""redis-py's clients of a cluster, mended where the state of one node would be taken for that of the cluster."""

from collections.abc import Iterable
from typing import Any, cast

import redis
import redis.cluster
from redis._parsers import AsyncCommandsParser
from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection, SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException, SlotNotCoveredError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.typing import EncodableT

from kiqstart.redis.clients import CheckedConnection
from kiqstart.redis.url import Node

_OUTAGES = ("Redis Cluster cannot be connected", "All slots are not covered")
_UNKNOWN_NODE = "the cluster sends on to a node that is not known yet: {}"
# The command, GROUP, the group's name and the consumer's stand before.
_STREAMS_AFTER = 4


class _CheckedClusterConnection(CheckedConnection):
    """Is replaced where the server has closed it, too: a pool sees that, the cluster's client does not look."""

    async def check_health(self) -> None:
        if await self.can_read():
            await self.disconnect(nowait=True)
            await self.connect()
        await super().check_health()


class _ClusterConnection(_CheckedClusterConnection, Connection):
    """To a node of a cluster."""


class _TlsClusterConnection(_CheckedClusterConnection, SSLConnection):
    """To a node of a cluster, with TLS."""


class _CommandsParser(AsyncCommandsParser):
    """Learns the commands from any node that answers, and asks none where the keys of a read are."""

    def __init__(self, cluster: RedisCluster) -> None:
        super().__init__()
        self._cluster = cluster

    async def initialize(self, node: ClusterNode | None = None) -> None:
        """Ask the nodes in turn which commands there are; redis-py asks the first one alone, which may be away."""
        failure: Exception = RedisConnectionError("the cluster names no node")
        others = [other for other in self._cluster.get_nodes() if other is not node]
        for one in [node, *others] if node is not None else others:
            try:
                return await super().initialize(one)
            except (RedisConnectionError, RedisTimeoutError) as error:
                failure = error
        raise failure

    async def _get_moveable_keys(self, *args: Any) -> tuple[str, ...] | None:  # noqa: ANN401  # redis-py's own
        # redis-py would ask the first node, before each read.
        if args[0].upper() != "XREADGROUP":
            return await super()._get_moveable_keys(*args)
        before = next(place for place in range(_STREAMS_AFTER, len(args)) if args[place] in ("STREAMS", b"STREAMS"))
        names = args[before + 1 :]
        return names[: len(names) // 2]


class AsyncCluster(RedisCluster):
    """Raises redis-py's ConnectionError where the cluster cannot be reached, and closes all that it opened."""

    def __init__(self, nodes: Iterable[Node], *, tls: bool, **options: Any) -> None:  # noqa: ANN401  # redis-py's own
        super().__init__(startup_nodes=[ClusterNode(*node) for node in nodes], ssl=tls, **options)
        # There is no argument for the class of the connections.
        connection_class = _TlsClusterConnection if tls else _ClusterConnection
        self.connection_kwargs["connection_class"] = connection_class
        for node in self.nodes_manager.startup_nodes.values():
            node.connection_class = connection_class
        self.commands_parser = _CommandsParser(self)

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

    async def execute_command(self, *args: EncodableT, **kwargs: Any) -> Any:  # noqa: ANN401  # redis-py's own
        """Run a command on the node that serves its keys."""
        # As long as redis-py does not know the nodes, it decides for any of them, be it dead, and after five wrong ones
        # it cuts off whoever waits for an answer.
        await self.initialize()
        try:
            return await super().execute_command(*args, **kwargs)
        except SlotNotCoveredError as error:
            raise RedisConnectionError(str(error)) from error

    def get_node(
        self, host: str | None = None, port: int | None = None, node_name: str | None = None
    ) -> ClusterNode | None:
        """A node by its address or its name; one that a redirection names may be too new to be known."""
        node = super().get_node(host, port, node_name)
        if node is None and node_name is not None:
            self._initialize = True
            raise RedisConnectionError(_UNKNOWN_NODE.format(node_name))
        return node

    async def aclose(self) -> None:
        """Close every connection, after a failure too: redis-py forgets them while it does not know the slots."""
        await super().aclose()
        await self.nodes_manager.aclose()
        await self.nodes_manager.aclose("startup_nodes")


class Cluster(redis.RedisCluster):
    """Raises redis-py's ConnectionError where the cluster cannot be reached. It connects when it is made."""

    def __init__(self, nodes: Iterable[Node], *, tls: bool, **options: Any) -> None:  # noqa: ANN401  # redis-py's own
        try:
            super().__init__(startup_nodes=[redis.cluster.ClusterNode(*node) for node in nodes], ssl=tls, **options)
        except RedisClusterException as error:
            raise RedisConnectionError(str(error)) from error

    def execute_command(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # redis-py's own
        """Run a command on the node that serves its keys."""
        if args == ("COMMAND",):
            # Asked when a client is made. redis-py asks the first node alone, which may be away.
            return self._ask_any(*args)
        try:
            return cast("Any", super().execute_command(*args, **kwargs))
        except RedisClusterException as error:
            # Others of this class say that the command is wrong, as with keys of two slots.
            if isinstance(error, SlotNotCoveredError) or str(error).startswith(_OUTAGES):
                raise RedisConnectionError(str(error)) from error
            raise

    def get_node(
        self, host: str | None = None, port: int | None = None, node_name: str | None = None
    ) -> redis.cluster.ClusterNode:
        """A node by its address or its name; one that a redirection names may be too new to be known."""
        found: redis.cluster.ClusterNode | None = super().get_node(host, port, node_name)
        if found is None:
            raise RedisConnectionError(_UNKNOWN_NODE.format(node_name or f"{host}:{port}"))
        return found

    def _ask_any(self, *args: str) -> object:
        failure: Exception = RedisConnectionError("the cluster names no node")
        for node in self.get_nodes():
            try:
                return cast("object", super().execute_command(*args, target_nodes=node))
            except (RedisConnectionError, RedisTimeoutError) as error:
                failure = error
        raise failure
