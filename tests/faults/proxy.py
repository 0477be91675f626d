"""A TCP proxy before Redis that cuts connections at any byte, or loses an answer."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from tests.faults.redis_server import free_port
from tests.network.relay import Relay, Streams, Then, relaying

_HOST: Final = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Storm:
    """How often connections are cut.

    Args:
        mean_bytes: bytes that a connection carries on average, both ways together, until it is cut. 0: any number.
        lost_answers: the share of requests that reach Redis and whose answers, and connections, are lost.
    """

    mean_bytes: float = 0.0
    lost_answers: float = 0.0


class CuttingProxy(Relay):
    """Passes everything on; in a storm it cuts.

    Args:
        upstream: the port of Redis.
        seed: of its random numbers.
    """

    def __init__(self, upstream: int, *, seed: int = 0) -> None:
        super().__init__()
        self.port: Final = free_port()
        self.url: Final = f"redis://{_HOST}:{self.port}/0"
        self.storm: Storm | None = None
        self._broken = 0
        self._upstream: Final = upstream
        self._random: Final = random.Random(seed)  # noqa: S311  # no secret

    @property
    def cuts(self) -> int:
        """How many connections were cut."""
        return self._broken + self.lost_answers

    async def connect(self) -> Streams:
        """Connect to Redis."""
        return await asyncio.open_connection(_HOST, self._upstream)

    def on_request(self, data: bytes) -> tuple[bytes, Then]:
        """Break it off or lose the answer to it, by lot."""
        passed, then = self.on_answer(data)
        if then is Then.GO_ON and self.storm and self._random.random() < self.storm.lost_answers:
            then = Then.LOSE_ANSWER
        return passed, then

    def on_answer(self, data: bytes) -> tuple[bytes, Then]:
        """Break it off, by lot."""
        room = len(data)
        if self.storm and self.storm.mean_bytes:
            room = int(self._random.expovariate(1 / self.storm.mean_bytes))
        if room >= len(data):
            return data, Then.GO_ON
        self._broken += 1
        return data[:room], Then.CUT


@asynccontextmanager
async def cutting_proxy(upstream: int, *, seed: int = 0) -> AsyncGenerator[CuttingProxy]:
    """Run a proxy before the Redis on that port."""
    proxy = CuttingProxy(upstream, seed=seed)
    async with relaying(proxy, partial(asyncio.start_server, host=_HOST, port=proxy.port)):
        yield proxy
