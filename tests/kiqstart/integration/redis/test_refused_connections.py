"""A server that ends a connection before it has logged in: its own words reach the caller."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from tests.deadlines import HANG

from kiqstart.redis.client import RedisUnavailableError, check_redis
from kiqstart.redis.connections import RedisConnections

FULL = b"-ERR max number of clients reached\r\n"
ALERT = b"\x15\x03\x03\x00\x02\x02\x46"


@asynccontextmanager
async def refusing_server(words: bytes) -> AsyncGenerator[RedisConnections]:
    """A server that says something to each client, and closes."""

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(words)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        port: int = server.sockets[0].getsockname()[1]
        yield RedisConnections(f"redis://:secret@127.0.0.1:{port}/3")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (FULL, "max number of clients reached"),
        (ALERT, "The server speaks TLS: write rediss://"),
        (b"", "The server closed the connection; if it speaks TLS, write rediss://"),
    ],
)
async def test_what_the_server_says_is_the_error(words: bytes, reason: str) -> None:
    async with refusing_server(words) as connections:
        client, pipeline = connections.async_client(timeout=HANG), connections.pipeline(timeout=HANG)
        try:
            for one in (client, pipeline):
                for _ in range(10):
                    with pytest.raises(RedisConnectionError) as caught:
                        await one.execute_command("PING")
                    assert str(caught.value).startswith(
                        f"Error connecting to {connections.address.partition('/')[0]}. "
                    )
                    assert reason in str(caught.value)
        finally:
            await client.aclose()
            await pipeline.aclose()


async def test_of_a_full_server_it_is_said_what_to_do() -> None:
    async with refusing_server(FULL) as connections:
        client = connections.async_client(timeout=HANG)
        try:
            with pytest.raises(RedisUnavailableError, match=r"clients reached; close connections .* `maxclients`$"):
                await check_redis(client, connections.address)
        finally:
            await client.aclose()
