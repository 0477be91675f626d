"""What the tests' proxies share: they join clients to a server until something is to be lost on the way."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import Enum, auto
from typing import Final

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]

_CHUNK: Final = 65_536
# On a slow link, pieces are as small as this, so that what is written stays with the writer.
_SLOW_CHUNK: Final = 16_384


class Then(Enum):
    """What follows a piece of data."""

    GO_ON = auto()
    CUT = auto()
    """Both connections end."""
    LOSE_ANSWER = auto()
    """The server gets it; its next answer is dropped, and both connections end."""


class Relay(ABC):
    """Passes everything on, but for what a subclass wants lost."""

    bytes_per_second: float | None = None
    """What each connection carries in each direction at most; 0: nothing any more."""

    def __init__(self) -> None:
        self.lost_answers = 0
        self._clients: set[asyncio.StreamWriter] = set()

    @abstractmethod
    async def connect(self) -> Streams:
        """Connect to the server.

        Raises:
            OSError: it is away, and so the client is turned away too.
        """

    def on_request(self, data: bytes) -> tuple[bytes, Then]:
        """Give what is passed on of a piece of data from a client, and what follows."""
        return data, Then.GO_ON

    def on_answer(self, data: bytes) -> tuple[bytes, Then]:
        """Give what is passed on of a piece of data from the server, and what follows."""
        return data, Then.GO_ON

    def cut(self) -> None:
        """Cut all connections; new ones can be made."""
        for client in self._clients:
            client.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a client."""
        self._clients.add(writer)
        try:
            server_reader, server_writer = await self.connect()
        except OSError:
            return
        else:
            await self._join(reader, writer, server_reader, server_writer)
        finally:
            self._clients.discard(writer)
            writer.transport.abort()

    async def _join(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        server_reader: asyncio.StreamReader,
        server_writer: asyncio.StreamWriter,
    ) -> None:
        loses_answer = asyncio.Event()
        pumps = {
            asyncio.create_task(self._pass_requests(reader, server_writer, loses_answer)),
            asyncio.create_task(self._pass_answers(server_reader, writer, loses_answer)),
        }
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in (writer, server_writer):
                # What was passed on is still sent.
                end.close()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        if self.bytes_per_second is None:
            return await reader.read(_CHUNK)
        data = await reader.read(_SLOW_CHUNK)
        while self.bytes_per_second == 0:  # noqa: ASYNC110  # whoever sets it has no event to set
            await asyncio.sleep(0.01)
        await asyncio.sleep(len(data) / self.bytes_per_second)
        return data

    async def _pass_requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, loses_answer: asyncio.Event
    ) -> None:
        while data := await self._read(reader):
            passed, then = self.on_request(data)
            if then is Then.LOSE_ANSWER:
                loses_answer.set()
            writer.write(passed)
            await writer.drain()
            if then is Then.CUT:
                return

    async def _pass_answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, loses_answer: asyncio.Event
    ) -> None:
        while data := await self._read(reader):
            if loses_answer.is_set():
                self.lost_answers += 1
                return
            passed, then = self.on_answer(data)
            writer.write(passed)
            await writer.drain()
            if then is Then.CUT:
                return


@asynccontextmanager
async def relaying(relay: Relay, listen: Callable[[Serve], Awaitable[asyncio.Server]]) -> AsyncGenerator[None]:
    """Let a relay serve all who come to where `listen` makes a server listen."""
    clients: set[asyncio.Task[None]] = set()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = asyncio.create_task(relay.serve(reader, writer))
        clients.add(client)
        client.add_done_callback(clients.discard)

    server = await listen(serve)
    try:
        yield
    finally:
        server.close()
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
