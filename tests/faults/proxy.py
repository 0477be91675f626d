"""A TCP proxy before Redis that cuts connections at any byte, or loses an answer."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from tests.faults.redis_server import free_port

_CHUNK: Final = 65_536


@dataclass(frozen=True, kw_only=True)
class Storm:
    """How often connections are cut.

    Args:
        mean_bytes: bytes that a connection carries on average, both ways together, until it is cut. 0: any number.
        lost_answers: the share of requests that reach Redis and whose answers, and connections, are lost.
    """

    mean_bytes: float = 0.0
    lost_answers: float = 0.0


class CuttingProxy:
    """Passes everything on; in a storm it cuts.

    Args:
        upstream: the port of Redis.
        seed: of its random numbers.
    """

    def __init__(self, upstream: int, *, seed: int = 0) -> None:
        self.port: Final = free_port()
        self.url: Final = f"redis://127.0.0.1:{self.port}/0"
        self.storm: Storm | None = None
        self.cuts = 0
        self._upstream: Final = upstream
        self._random: Final = random.Random(seed)  # noqa: S311  # no secret

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a client."""
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            writer.transport.abort()
            return
        loses_answer = asyncio.Event()
        pumps = {
            asyncio.create_task(self._requests(reader, server_writer, loses_answer)),
            asyncio.create_task(self._answers(server_reader, writer, loses_answer)),
        }
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for end in (writer, server_writer):
                end.close()
                with suppress(OSError):
                    await end.wait_closed()

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, loses_answer: asyncio.Event
    ) -> None:
        while data := await reader.read(_CHUNK):
            if not await self._pass_on(data, writer):
                return
            if self.storm and self._random.random() < self.storm.lost_answers:
                loses_answer.set()

    async def _answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, loses_answer: asyncio.Event
    ) -> None:
        while data := await reader.read(_CHUNK):
            if loses_answer.is_set():
                self.cuts += 1
                return
            if not await self._pass_on(data, writer):
                return

    async def _pass_on(self, data: bytes, writer: asyncio.StreamWriter) -> bool:
        """Write the data, or the part before a cut; False says that it was cut."""
        room = len(data)
        if self.storm and self.storm.mean_bytes:
            room = int(self._random.expovariate(1 / self.storm.mean_bytes))
        writer.write(data[:room])
        await writer.drain()
        if room < len(data):
            self.cuts += 1
        return room >= len(data)


@asynccontextmanager
async def cutting_proxy(upstream: int, *, seed: int = 0) -> AsyncGenerator[CuttingProxy]:
    """Run a proxy before the Redis on that port."""
    proxy = CuttingProxy(upstream, seed=seed)
    clients: set[asyncio.Task[None]] = set()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = asyncio.create_task(proxy.serve(reader, writer))
        clients.add(client)
        client.add_done_callback(clients.discard)

    server = await asyncio.start_server(serve, "127.0.0.1", proxy.port)
    try:
        yield proxy
    finally:
        server.close()
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
