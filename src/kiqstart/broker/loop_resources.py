"""What one event loop has of Redis: its clients, and what sends and waits through them."""

import asyncio
from contextlib import suppress
from typing import Final

from kiqstart.broker.consumer_parts import WAIT_SECONDS, ConsumerClients
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.result_waiter import ResultWaiter
from kiqstart.broker.sender import Sender
from kiqstart.broker.sent_stats import SentStats
from kiqstart.redis.commands import async_commands, blocking_commands
from kiqstart.redis.connections import MultiplexedClient, RedisConnections

_SECONDS_FOR_AN_ANSWER: Final = 5.0
_READS_AT_ONCE: Final = 32
# Where an event loop ends, whoever sent has been cancelled, or does not care.
_SECONDS_TO_DRAIN: Final = 1.0


class LoopResources:
    """One shared client; connections of redis-py belong to the event loop in which they were opened."""

    def __init__(self, connections: RedisConnections, keys: QueueKeys, options: StreamOptions, sent: SentStats) -> None:
        self._connections = connections
        self._options = options
        self.client = connections.async_client(timeout=_SECONDS_FOR_AN_ANSWER)
        self.redis = async_commands(self.client)
        # What all callers share: sends, reads, and what ends deliveries.
        self.scripts = connections.pipeline(timeout=_SECONDS_FOR_AN_ANSWER)
        # The same for what is large, behind which nobody else has to wait.
        self.large_scripts = connections.large_pipeline(timeout=_SECONDS_FOR_AN_ANSWER)
        self.sent = sent.counter(self.scripts)
        self.sender = Sender(
            self.scripts,
            keys,
            deadline=options.send_deadline,
            address=connections.address,
            queue_limit=options.queue_limit,
            large=self.large_scripts,
            sent=self.sent,
        )
        # However many results come at once, sends and acknowledgements find a free connection.
        self.reads = asyncio.Semaphore(max(min(_READS_AT_ONCE, connections.max_connections // 3), 1))
        self.waiter = ResultWaiter(self.scripts, self.large_scripts, connections, keys)
        for pipeline in self._shared_pipelines():
            pipeline.on_demoted = self._leave_server

    async def consumer_clients(self) -> ConsumerClients:
        """The connections of a worker.

        Raises:
            redis.exceptions.ConnectionError: a cluster cannot be reached.
        """
        # A cluster's client connects when it is made, and would hold up the event loop.
        thread = await asyncio.to_thread(self._connections.sync_client, timeout=max(self._options.beat * 2, 0.5))
        return ConsumerClients(
            scripts=self.scripts,
            large_scripts=self.large_scripts,
            reader=self._connections.pipeline(timeout=WAIT_SECONDS + _SECONDS_FOR_AN_ANSWER),
            thread=blocking_commands(thread),
        )

    async def close(self) -> None:
        """Wait a second at most for sends that are under way, then let the connections go."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_SECONDS_TO_DRAIN):
                await self.sender.drain()
                await self.sent.close()
        await self.waiter.close()
        await self.scripts.aclose()
        await self.large_scripts.aclose()
        await self.redis.aclose()

    def _shared_pipelines(self) -> list[MultiplexedClient]:
        return [one for one in (self.scripts, self.large_scripts) if isinstance(one, MultiplexedClient)]

    def _leave_server(self) -> None:
        # One was told that the server is no master now. The others might only read, and never be told.
        for pipeline in self._shared_pipelines():
            pipeline.reconnect()
        self.waiter.reconnect()
