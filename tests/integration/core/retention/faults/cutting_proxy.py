"""A proxy before PostgreSQL that loses connections at the moments that matter: around a COMMIT."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from enum import Enum, auto
from pathlib import Path
from typing import Final

from sqlalchemy import URL

_CHUNK: Final = 65536


class Cut(Enum):
    """Which message is lost, and the connection with it."""

    COMMIT = auto()
    """PostgreSQL never gets the COMMIT, and rolls back."""
    ANSWER = auto()
    """PostgreSQL commits, but nobody is told."""


class CuttingProxy:
    """Passes everything on, counts the commits, and asks for each what shall be lost."""

    def __init__(self, upstream: URL, cut: Callable[[int], Cut | None]) -> None:
        self.commits = 0
        self.cuts = 0
        self._upstream: Final = upstream
        self._cut: Final = cut

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a client."""
        server_reader, server_writer = await self._connect()
        loses_answer = asyncio.Event()
        pumps = {
            asyncio.create_task(self._to_server(reader, server_writer, loses_answer)),
            asyncio.create_task(_to_client(server_reader, writer, loses_answer)),
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

    async def _to_server(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, loses_answer: asyncio.Event
    ) -> None:
        while data := await reader.read(_CHUNK):
            if b"COMMIT" in data:
                self.commits += 1
                cut = self._cut(self.commits)
                self.cuts += cut is not None
                if cut is Cut.COMMIT:
                    return
                if cut is Cut.ANSWER:
                    loses_answer.set()
            writer.write(data)
            await writer.drain()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        port = self._upstream.port or 5432
        folder = self._upstream.query.get("host")
        if isinstance(folder, str) and folder.startswith("/"):
            return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{port}")
        return await asyncio.open_connection(self._upstream.host or "localhost", port)


async def _to_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, loses_answer: asyncio.Event) -> None:
    while data := await reader.read(_CHUNK):
        if loses_answer.is_set():
            return
        writer.write(data)
        await writer.drain()


@asynccontextmanager
async def cutting_proxy(upstream: URL, cut: Callable[[int], Cut | None]) -> AsyncGenerator[tuple[CuttingProxy, URL]]:
    """Run a proxy on a socket of its own, and give the URL that leads through it."""
    proxy = CuttingProxy(upstream, cut)
    with tempfile.TemporaryDirectory(prefix="kiqstart-") as folder:
        server = await asyncio.start_unix_server(proxy.serve, Path(folder, ".s.PGSQL.5432"))
        try:
            yield proxy, upstream.set(host=None, port=None, query={"host": folder})
        finally:
            server.close()
            await server.wait_closed()
