"""Clients through a failover, and on connections that died without a word."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError
from tests.kiqstart.integration.redis.servers import ESCAPED_PASSWORD, SentinelGroup, Server, sentinel_group

from kiqstart.redis import connections
from kiqstart.redis.connections import RedisConnections
from kiqstart.testing import eventually


def crash(group: SentinelGroup) -> None:
    group.master.kill()
    group.wait_for_failover()


@pytest.mark.parametrize("fail_over", [SentinelGroup.fail_over, crash])
async def test_a_client_follows_the_master(tmp_path: Path, fail_over: Callable[[SentinelGroup], None]) -> None:
    with sentinel_group(tmp_path) as group:
        found = RedisConnections(group.url, connect_timeout=1.0)
        client, sync = found.async_client(timeout=1.0), found.sync_client(timeout=1.0)

        async def can_write() -> bool:
            with suppress(RedisConnectionError, RedisTimeoutError, ReadOnlyError):
                return bool(await client.set("a", "old")) and bool(await asyncio.to_thread(sync.set, "b", "old"))
            return False

        async def has_followed() -> bool:
            with suppress(RedisConnectionError, RedisTimeoutError, ReadOnlyError):
                await client.set("a", "new")
                await asyncio.to_thread(sync.set, "b", "new")
            with group.replica.client() as new_master:
                return new_master.mget("a", "b") == [b"new", b"new"]

        try:
            await eventually(can_write)
            await asyncio.to_thread(fail_over, group)
            await eventually(has_followed)
        finally:
            await client.aclose()
            sync.close()


class Nat:
    """Hands connections on to a server, until it forgets those it has: nobody hears of that."""

    def __init__(self, port: int) -> None:
        self.connections = 0
        self._port = port
        self._known: set[int] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []

    def forget(self) -> None:
        """Drop what comes from here on over the connections of now."""
        self._known.clear()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._known.add(self.connections)
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, server_writer]
        for source, target in ((reader, server_writer), (server_reader, writer)):
            self._tasks.append(asyncio.create_task(self._pipe(self.connections, source, target)))

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _pipe(self, connection: int, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            if connection in self._known:
                target.write(data)
        target.close()


@asynccontextmanager
async def nat_before(server: Server) -> AsyncGenerator[tuple[Nat, str]]:
    nat = Nat(server.port)
    listener = await asyncio.start_server(nat.connect, "127.0.0.1", 0)
    try:
        yield nat, f"redis://:{ESCAPED_PASSWORD}@127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        await nat.aclose()


async def test_an_idle_connection_that_a_nat_has_forgotten_is_replaced(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_HEALTH_CHECK_INTERVAL", 1e-9)
    async with nat_before(server) as (nat, url):
        client = RedisConnections(url).async_client(timeout=1.0)
        try:
            await client.delete("count")
            nat.forget()
            assert await client.incr("count") == 1
            assert nat.connections == 2
        finally:
            await client.aclose()


async def test_what_a_nat_swallows_is_not_sent_again(server: Server) -> None:
    async with nat_before(server) as (nat, url):
        client = RedisConnections(url).async_client(timeout=1.0)
        try:
            await client.delete("count")
            nat.forget()
            with pytest.raises(RedisTimeoutError):
                await client.incr("count")
            assert nat.connections == 1
            assert await client.get("count") is None
        finally:
            await client.aclose()
