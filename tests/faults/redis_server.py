"""A Redis of a scenario's own, to be stopped, frozen and emptied, and to be looked into."""

import asyncio
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError
from tests.faults.fault import Fault, Faults, Kind
from tests.faults.guardian import Guardian, kill_group

from kiqstart.broker.keys import QueueKeys
from kiqstart.local.redis import find_redis
from kiqstart.testing import eventually

# Below the ports that the system gives to outgoing connections: one of those could take the port of a stopped server.
_PORTS: Final = range(20_000, 30_000)
_SECONDS: Final = 20.0


class _Group(TypedDict):
    name: bytes
    pending: int


@dataclass(frozen=True, kw_only=True)
class Leftovers:
    """What is in the streams of a Redis."""

    entries: int
    pending: int
    consumers: int
    """How many there are by name; a worker has the same name in all streams."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much a Redis holds."""

    keys: int
    megabytes: float

    def __str__(self) -> str:
        return f"{self.keys} keys, {self.megabytes:.1f} MB"


class PrivateRedis:
    """Writes each command to disk before it answers, so that a crash loses nothing that was promised."""

    def __init__(self, folder: Path, guardian: Guardian, faults: Faults) -> None:
        self.port: Final = free_port()
        self.url: Final = f"redis://127.0.0.1:{self.port}/0"
        self._folder: Final = folder
        self._guardian: Final = guardian
        self._faults: Final = faults
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it with the data that are there, and wait until it answers."""
        self._folder.mkdir(exist_ok=True)
        durability = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")
        with (self._folder.parent / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220  # it takes no time
                [find_redis(self._folder).program, "--port", str(self.port), "--bind", "127.0.0.1", *durability],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._guardian.guard(self._process.pid)
        await eventually(self._answers, within=_SECONDS)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it, and wait until it has."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)
            await asyncio.to_thread(self._process.wait, _SECONDS)
            self._guardian.release(self._process.pid)
            self._process = None

    @asynccontextmanager
    async def away(self, number: signal.Signals = signal.SIGTERM, *, wipe: bool = False) -> AsyncGenerator[Fault]:
        """Let it be stopped within the `async with` block, and come back with its data, or empty."""
        with self._faults.lasting(Kind.WIPE if wipe else Kind.REDIS, note=f"stopped by {number.name}") as fault:
            await self.stop(number)
            if wipe:
                shutil.rmtree(self._folder)
            try:
                yield fault
            finally:
                await self.start()

    @asynccontextmanager
    async def frozen(self) -> AsyncGenerator[Fault]:
        """Let it be frozen within the `async with` block."""
        assert self._process is not None
        with self._faults.lasting(Kind.REDIS, note="frozen") as fault:
            self._process.send_signal(signal.SIGSTOP)
            try:
                yield fault
            finally:
                self._process.send_signal(signal.SIGCONT)

    async def cut_connections(self) -> None:
        """Cut the connections of all clients."""
        async with self.client() as redis:
            fault = self._faults.add(Kind.CUT, note="CLIENT KILL")
            await redis.client_kill_filter(_type="normal", skipme=True)
            # A client that only listens is of another type.
            await redis.client_kill_filter(_type="pubsub")
            self._faults.end(fault)

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Redis]:
        """Give a client of the suite's own."""
        async with Redis.from_url(self.url) as redis:
            yield redis

    async def leftovers(self, queue: str) -> Leftovers:
        """Count what is in the streams whose names contain the queue's, dead letters aside."""
        entries = pending = 0
        consumers: set[bytes] = set()
        async with self.client() as redis:
            keys = cast("AsyncIterator[bytes]", redis.scan_iter(f"*{queue}*", _type="stream"))
            async for key in keys:
                if b"dead" in key:
                    continue
                entries += await redis.xlen(key)
                for group in cast("list[_Group]", await redis.xinfo_groups(key)):
                    pending += group["pending"]
                    names = cast("list[dict[str, bytes]]", await redis.xinfo_consumers(key, group["name"]))
                    consumers.update(consumer["name"] for consumer in names)
        return Leftovers(entries=entries, pending=pending, consumers=len(consumers))

    async def registered(self, queue: str) -> int:
        """Count the workers that the queue knows."""
        async with self.client() as redis:
            return await redis.zcard(QueueKeys(queue).workers)

    async def size(self) -> Size:
        """What the data take. The number of each sender's last batch, which goes after an hour, is not counted."""
        async with self.client() as redis:
            senders = 0
            async for _ in cast("AsyncIterator[bytes]", redis.scan_iter("*:sender:*", count=1000)):
                senders += 1
            memory = int((await redis.info("memory"))["used_memory"])
            return Size(keys=await redis.dbsize() - senders, megabytes=memory / 1e6)

    def discard(self) -> None:
        """Kill it, and delete its data."""
        if self._process is not None:
            kill_group(self._process.pid)
            self._process.wait()
            self._guardian.release(self._process.pid)
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _answers(self) -> bool:
        with suppress(RedisError, OSError):
            async with self.client() as redis:
                return bool(await redis.ping())
        return False


def free_port() -> int:
    """Find a TCP port that nobody listens on."""
    while True:
        port = random.choice(_PORTS)  # noqa: S311  # any will do
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
