"""Pipelines of the tests' own, and a network that loses what it is to lose."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

from tests.deadlines import HANG
from tests.kiqstart.integration.redis.servers import ESCAPED_PASSWORD, Server
from tests.network.relay import Relay, Streams, Then, relaying

from kiqstart.redis.connections import RedisConnections
from kiqstart.redis.pipeline import MultiplexedClient


@asynccontextmanager
async def pipeline_to(url: str, *, seconds: float = HANG) -> AsyncGenerator[MultiplexedClient]:
    """A pipeline to a single server, closed at the end of the block; for so long it waits for an answer."""
    client = RedisConnections(url, connect_timeout=HANG).pipeline(timeout=seconds)
    assert isinstance(client, MultiplexedClient)
    try:
        yield client
    finally:
        await client.aclose()


def url_of(server: Server, *, db: int = 0) -> str:
    """The URL of a server with the tests' password."""
    return f"redis://:{ESCAPED_PASSWORD}@127.0.0.1:{server.port}/{db}"


def connections_so_far(server: Server) -> int:
    """How many connections a server has accepted, that of this look included."""
    with server.client() as client:
        return int(client.info("stats")["total_connections_received"])


class Network(Relay):
    """What lies before a server.

    While it `swallows`, nothing reaches the server; what it is to `say`, it says instead of the server's next answer.
    """

    def __init__(self, port: int, url: str) -> None:
        super().__init__()
        self.url = url
        self.swallows = False
        self.say = b""
        self.connections = 0
        self._port = port

    async def connect(self) -> Streams:
        """Connect to the server."""
        self.connections += 1
        return await asyncio.open_connection("127.0.0.1", self._port)

    def on_request(self, data: bytes) -> tuple[bytes, Then]:
        """Pass it on, or not."""
        return b"" if self.swallows else data, Then.GO_ON

    def on_answer(self, data: bytes) -> tuple[bytes, Then]:
        """Pass it on, or something else."""
        data, self.say = self.say or data, b""
        return data, Then.GO_ON


@asynccontextmanager
async def network_before(server: Server) -> AsyncGenerator[Network]:
    """Lay a network before a server."""
    with tempfile.TemporaryDirectory(prefix="kiqstart-") as folder:
        path = f"{folder}/redis.sock"
        network = Network(server.port, f"unix://:{ESCAPED_PASSWORD}@{path}")
        async with relaying(network, partial(asyncio.start_unix_server, path=path)):
            yield network
