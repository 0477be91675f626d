"""A proxy before Redis that counts commands, loses answers and cuts connections."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

_CHUNK: Final = 65_536


class Wire:
    """What goes between a broker and Redis.

    Args:
        upstream: URL of the Redis.
        url: URL that leads through here.
    """

    def __init__(self, upstream: str, url: str) -> None:
        self.url: Final = url
        self.lost_answers = 0
        self.is_down = False
        self._upstream: Final = urlsplit(upstream)
        self._requests = b""
        self._losing: bytes | None = None
        self._clients: set[asyncio.StreamWriter] = set()

    def count(self, command: str) -> int:
        """How often a command, or another whole word of one, was sent since the last `forget`."""
        return self._requests.count(f"\r\n{command}\r\n".encode())

    def forget(self) -> None:
        """Count anew."""
        self._requests = b""

    def lose_answer_to(self, command: str) -> None:
        """Let Redis get the next such command, then cut the connection instead of passing the answer on."""
        self._losing = f"\r\n{command}\r\n".encode()

    def cut(self) -> None:
        """Cut all connections; new ones can be made, unless `is_down`."""
        for client in self._clients:
            client.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a client."""
        if self.is_down:
            writer.transport.abort()
            return
        self._clients.add(writer)
        server_reader, server_writer = await self._connect()
        loses_answer = asyncio.Event()
        pumps = {
            asyncio.create_task(self._to_server(reader, server_writer, loses_answer)),
            asyncio.create_task(self._to_client(server_reader, writer, loses_answer)),
        }
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._clients.discard(writer)
            for end in (writer, server_writer):
                end.transport.abort()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _to_server(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, loses_answer: asyncio.Event
    ) -> None:
        while data := await reader.read(_CHUNK):
            self._requests += data
            if self._losing is not None and self._losing in data:
                self._losing = None
                loses_answer.set()
            writer.write(data)
            await writer.drain()

    async def _to_client(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, loses_answer: asyncio.Event
    ) -> None:
        while data := await reader.read(_CHUNK):
            if loses_answer.is_set():
                self.lost_answers += 1
                return
            writer.write(data)
            await writer.drain()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._upstream.scheme == "unix":
            return await asyncio.open_unix_connection(unquote(self._upstream.path))
        return await asyncio.open_connection(self._upstream.hostname or "localhost", self._upstream.port or 6379)


@asynccontextmanager
async def wire_to(upstream: str) -> AsyncGenerator[Wire]:
    """Run a proxy on a socket of its own."""
    with tempfile.TemporaryDirectory(prefix="kiqstart-") as folder:
        path = Path(folder, "redis.sock")
        wire = Wire(upstream, f"unix://{path}")
        clients: set[asyncio.Task[None]] = set()

        def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            client = asyncio.create_task(wire.serve(reader, writer))
            clients.add(client)
            client.add_done_callback(clients.discard)

        server = await asyncio.start_unix_server(serve, path)
        try:
            yield wire
        finally:
            server.close()
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)
