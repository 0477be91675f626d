"""What one event loop has of Redis: its clients, and what sends and waits through them."""

import asyncio
from typing import Final

from kiqstart.infrastructure.redis.connections import RedisConnections
from kiqstart.infrastructure.taskiq.streams.consumer import WAIT_SECONDS, ConsumerClients
from kiqstart.infrastructure.taskiq.streams.keys import QueueKeys
from kiqstart.infrastructure.taskiq.streams.options import StreamOptions
from kiqstart.infrastructure.taskiq.streams.sender import Sender
from kiqstart.infrastructure.taskiq.streams.waiting import ResultWaiter

_SECONDS_FOR_AN_ANSWER: Final = 5.0
_READS_AT_ONCE: Final = 32


class Connection:
    """One shared client; connections of redis-py belong to the event loop in which they were opened."""

    def __init__(self, connections: RedisConnections, keys: QueueKeys, options: StreamOptions) -> None:
        self._connections = connections
        self._options = options
        self.redis = connections.async_client(timeout=_SECONDS_FOR_AN_ANSWER)
        # What all callers share: sends, reads, and what ends deliveries.
        self.scripts = connections.pipeline(timeout=_SECONDS_FOR_AN_ANSWER)
        self.sender = Sender(self.scripts, keys, deadline=options.send_deadline, address=connections.address)
        # However many results come at once, sends and acknowledgements find a free connection.
        self.reads = asyncio.Semaphore(max(min(_READS_AT_ONCE, connections.max_connections // 3), 1))
        self.waiter = ResultWaiter(self.scripts, connections, keys)

    async def consumer_clients(self) -> ConsumerClients:
        """The connections of a worker.

        Raises:
            redis.exceptions.ConnectionError: a cluster cannot be reached.
        """
        # A cluster's client connects when it is made, and would hold up the event loop.
        thread = await asyncio.to_thread(self._connections.sync_client, timeout=max(self._options.beat * 2, 0.5))
        return ConsumerClients(
            scripts=self.scripts,
            reader=self._connections.pipeline(timeout=WAIT_SECONDS + _SECONDS_FOR_AN_ANSWER),
            thread=thread,
        )

    async def close(self) -> None:
        """Wait for sends that are under way, then let the connections go."""
        await self.sender.drain()
        await self.waiter.close()
        await self.scripts.aclose()
        await self.redis.aclose()
