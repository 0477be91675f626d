"""What a user may say of connections beside where Redis is: with every client of every kind of Redis."""

import asyncio
from typing import Any, cast

import pytest
from redis.credentials import UsernamePasswordCredentialProvider
from redis.driver_info import DriverInfo
from tests.deadlines import HANG
from tests.kiqstart.integration.redis.servers import PASSWORD, Server

from kiqstart.redis.connections import RedisConnections

OPTIONS: list[dict[str, Any]] = [
    {"client_name": "my-app"},
    {"health_check_interval": 0.001},
    {"health_check_interval": 0},
    {"protocol": 2, "decode_responses": False},
    {"driver_info": DriverInfo().add_upstream_driver("kiqstart", "1.0.0")},
]


async def tries_every_client(connections: RedisConnections) -> None:
    value = b"\x00\xff"
    client, pipeline = connections.async_client(timeout=HANG), connections.pipeline(timeout=HANG)
    thread = await asyncio.to_thread(connections.sync_client, timeout=HANG)
    heard = asyncio.Event()

    class Ear:
        def on_listening(self, channel: str) -> None:
            assert channel == "{t}news"
            heard.set()

        def on_message(self, channel: str, message: bytes) -> None: ...

        def on_lost(self) -> None: ...

    subscription = connections.subscription(Ear())
    subscription.join("{t}news")
    try:
        for _ in range(2):
            assert await client.set("{t}k", value)
            assert await cast("asyncio.Future[object]", pipeline.execute_command("GET", "{t}k")) == value
            assert await asyncio.to_thread(thread.get, "{t}k") == value
            await asyncio.sleep(0.002)
        await asyncio.wait_for(heard.wait(), HANG)
    finally:
        await subscription.aclose()
        await client.aclose()
        await pipeline.aclose()
        thread.close()


@pytest.mark.parametrize("options", OPTIONS, ids="-".join)
async def test_what_may_be_said_works_with_every_client(url: str, options: dict[str, Any]) -> None:
    await tries_every_client(RedisConnections(url, **options))


@pytest.mark.parametrize(
    "query", ["client_name=me", "health_check_interval=5", "protocol=2&decode_responses=false", "protocol=3"]
)
async def test_what_may_stand_in_the_url_works_with_every_client(url: str, query: str) -> None:
    await tries_every_client(RedisConnections(f"{url}{'&' if '?' in url else '?'}{query}"))


@pytest.mark.parametrize("way", ["password", "credential_provider"])
async def test_a_password_may_stand_beside_the_url(server: Server, way: str) -> None:
    secret: Any = PASSWORD if way == "password" else UsernamePasswordCredentialProvider(password=PASSWORD)
    await tries_every_client(RedisConnections(f"redis://127.0.0.1:{server.port}/3", **{way: secret}))


async def test_a_database_has_its_own_keys_for_every_client(server: Server) -> None:
    urls = [f"redis://127.0.0.1:{server.port}{end}" for end in ("/5", "?db=5", "/0")]
    fifth, again, first = (RedisConnections(url, password=PASSWORD) for url in urls)
    for connections, wanted in ((fifth, b"1"), (again, b"1"), (first, None)):
        pipeline, thread = connections.pipeline(timeout=HANG), connections.sync_client(timeout=HANG)
        try:
            if connections is fifth:
                await cast("asyncio.Future[object]", pipeline.execute_command("SET", "mine", 1))
            assert await asyncio.to_thread(thread.get, "mine") == wanted
        finally:
            await pipeline.aclose()
            thread.close()
