"""A proxy before PostgreSQL that loses connections at the moments that matter: around a COMMIT."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import URL
from tests.network.relay import Relay, Streams, Then, relaying


class Cut(Enum):
    """Which message is lost, and the connection with it."""

    COMMIT = auto()
    """PostgreSQL never gets the COMMIT, and rolls back."""
    ANSWER = auto()
    """PostgreSQL commits, but nobody is told."""


class CuttingProxy(Relay):
    """Passes everything on, counts the commits, and asks for each what shall be lost."""

    def __init__(self, upstream: URL, cut: Callable[[int], Cut | None]) -> None:
        super().__init__()
        self.commits = 0
        self.cuts = 0
        self._upstream: Final = upstream
        self._what_is_lost: Final = cut

    async def connect(self) -> Streams:
        """Connect to PostgreSQL."""
        port = self._upstream.port or 5432
        folder = self._upstream.query.get("host")
        if isinstance(folder, str) and folder.startswith("/"):
            return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{port}")
        return await asyncio.open_connection(self._upstream.host or "localhost", port)

    def on_request(self, data: bytes) -> tuple[bytes, Then]:
        """Count a COMMIT, and lose what shall be lost of it."""
        if b"COMMIT;" not in data:
            return data, Then.GO_ON
        self.commits += 1
        cut = self._what_is_lost(self.commits)
        self.cuts += cut is not None
        match cut:
            case Cut.COMMIT:
                return b"", Then.CUT
            case Cut.ANSWER:
                return data, Then.LOSE_ANSWER
            case None:
                return data, Then.GO_ON


@asynccontextmanager
async def cutting_proxy(upstream: URL, cut: Callable[[int], Cut | None]) -> AsyncGenerator[tuple[CuttingProxy, URL]]:
    """Run a proxy on a socket of its own, and give the URL that leads through it."""
    proxy = CuttingProxy(upstream, cut)
    with tempfile.TemporaryDirectory(prefix="kiqstart-") as folder:
        path = Path(folder, ".s.PGSQL.5432")
        async with relaying(proxy, partial(asyncio.start_unix_server, path=path)):
            yield proxy, upstream.set(host=None, port=None, query={"host": folder})
