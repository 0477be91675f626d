"""A proxy before Redis that counts commands, loses answers and cuts connections."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from tests.network.relay import Relay, Streams, Then, relaying


class Wire(Relay):
    """What goes between a broker and Redis.

    Args:
        upstream: URL of the Redis.
        url: URL that leads through here.
    """

    def __init__(self, upstream: str, url: str) -> None:
        super().__init__()
        self.url: Final = url
        self.is_down = False
        self.refusals = 0
        self._upstream: Final = urlsplit(upstream)
        self._requests = bytearray()
        self._losing: bytes | None = None

    def count(self, command: str) -> int:
        """How often a command, or another whole word of one, was sent since the last `forget`."""
        return self._requests.count(f"\r\n{command}\r\n".encode())

    def forget(self) -> None:
        """Count anew."""
        self._requests.clear()

    def lose_answer_to(self, command: str) -> None:
        """Let Redis get the next such command, then cut the connection instead of passing the answer on."""
        self._losing = f"\r\n{command}\r\n".encode()

    async def connect(self) -> Streams:
        """Connect to Redis, unless it `is_down`."""
        if self.is_down:
            self.refusals += 1
            raise ConnectionRefusedError
        if self._upstream.scheme == "unix":
            return await asyncio.open_unix_connection(unquote(self._upstream.path))
        return await asyncio.open_connection(self._upstream.hostname or "localhost", self._upstream.port or 6379)

    def on_request(self, data: bytes) -> tuple[bytes, Then]:
        """Keep it to count in, and look whether its answer is to be lost."""
        self._requests += data
        if self._losing is None or self._losing not in data:
            return data, Then.GO_ON
        self._losing = None
        return data, Then.LOSE_ANSWER


@asynccontextmanager
async def wire_to(upstream: str) -> AsyncGenerator[Wire]:
    """Run a proxy on a socket of its own."""
    with tempfile.TemporaryDirectory(prefix="kiqstart-") as folder:
        path = Path(folder, "redis.sock")
        wire = Wire(upstream, f"unix://{path}")
        async with relaying(wire, partial(asyncio.start_unix_server, path=path)):
            yield wire
