"""What every client of a Redis does alike, whichever kind of Redis its URL names."""

import asyncio
from collections.abc import AsyncGenerator
from typing import cast

import pytest
import redis
from redis.asyncio import Redis, RedisCluster
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from tests.deadlines import HANG

from kiqstart.redis.connections import RedisConnections
from kiqstart.redis.pipeline import MultiplexedClient
from kiqstart.testing import eventually

AsyncClient = Redis | RedisCluster
NOWHERE = ["redis://127.0.0.1:1", "sentinel://127.0.0.1:1/main", "cluster://127.0.0.1:1,127.0.0.1:2"]
STEPS: list[tuple[str | bytes | int, ...]] = [
    ("DEL", "{t}s", "{t}list"),
    ("XGROUP", "CREATE", "{t}s", "g", "0", "MKSTREAM"),
    ("XADD", "{t}s", "1-1", "field", b"\x00\xff"),
    ("XREADGROUP", "GROUP", "g", "c", "COUNT", 2, "BLOCK", 10, "STREAMS", "{t}s", ">"),
    ("XREADGROUP", "GROUP", "g", "c", "COUNT", 2, "BLOCK", 10, "STREAMS", "{t}s", ">"),
    ("XAUTOCLAIM", "{t}s", "g", "c", 0, "0-0"),
    ("EVAL", "return {KEYS[1], {1, 'a', false}, redis.call('xlen', KEYS[1])}", 2, "{t}s", "{t}list", "x"),
    ("EVALSHA", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", 1, "{t}s"),
]


@pytest.fixture
async def client(url: str) -> AsyncGenerator[AsyncClient]:
    client = RedisConnections(url).async_client(timeout=HANG)
    yield client
    await client.aclose()


async def run(client: AsyncClient | MultiplexedClient, *command: str | bytes | int) -> object:
    return cast("object", await client.execute_command(*command))


async def everywhere(client: AsyncClient, *command: str) -> list[object]:
    """The answers of every master."""
    if isinstance(client, RedisCluster):
        by_node: dict[str, object] = await client.execute_command(*command, target_nodes=RedisCluster.PRIMARIES)
        return list(by_node.values())
    return [await run(client, *command)]


async def blocked_clients(url: str) -> int:
    observer = RedisConnections(url).async_client(timeout=HANG)
    try:
        answers = cast("list[dict[str, int]]", await everywhere(observer, "INFO"))
    finally:
        await observer.aclose()
    return sum(answer["blocked_clients"] for answer in answers)


async def kill_all_others(url: str) -> None:
    killer = RedisConnections(url).async_client(timeout=HANG)
    try:
        await everywhere(killer, "CLIENT KILL", "TYPE", "normal")
    finally:
        await killer.aclose()


async def test_replies_have_one_shape(url: str, client: AsyncClient) -> None:
    sync = RedisConnections(url).sync_client(timeout=HANG)
    try:
        await run(client, "EVAL", "return 1", 1, "{t}s")
        found = [await run(client, *step) for step in STEPS]
        by_thread = [cast("object", sync.execute_command(*step)) for step in STEPS]
    finally:
        sync.close()
    assert found[1:] == by_thread[1:]
    # Servers from 7.0 on name what was deleted, too.
    assert cast("list[object]", found[5])[:2] == [b"0-0", [(b"1-1", {b"field": b"\x00\xff"})]]
    assert found[3:5] == [
        [[b"{t}s", [(b"1-1", {b"field": b"\x00\xff"})]]],
        [],
    ]
    assert found[6:] == [[b"{t}s", [1, b"a", None], 1], 1]


async def test_a_pipeline_answers_each_of_many_who_ask_at_once(url: str) -> None:
    pipeline = RedisConnections(url).pipeline(timeout=HANG)
    try:
        await asyncio.gather(*(run(pipeline, "SET", f"{{t}}{number}", number) for number in range(50)))
        asked = (run(pipeline, "GET", f"{{t}}{number}") for number in range(50))
        assert await asyncio.gather(*asked) == [str(number).encode() for number in range(50)]
        script = "return {KEYS[1], {1, 'a', false}, redis.call('get', KEYS[1])}"
        assert await pipeline.eval(script, 1, "{t}7") == [b"{t}7", [1, b"a", None], b"7"]
    finally:
        await pipeline.aclose()


class Ear:
    """Notes what it hears, and since when."""

    def __init__(self) -> None:
        self.listening: list[str] = []
        self.messages: list[tuple[str, bytes]] = []
        self.losses = 0

    def on_listening(self, channel: str) -> None:
        self.listening.append(channel)

    def on_message(self, channel: str, message: bytes) -> None:
        self.messages.append((channel, message))

    def on_lost(self) -> None:
        self.losses += 1

    async def listens(self, times: int) -> None:
        async def is_told() -> bool:
            return len(self.listening) >= times

        await eventually(is_told)

    async def hears(self, count: int) -> None:
        async def has_come() -> bool:
            return len(self.messages) >= count

        await eventually(has_come)


async def test_messages_reach_whoever_has_joined_their_channel_and_not_left_it(url: str, client: AsyncClient) -> None:
    ear = Ear()
    subscription = RedisConnections(url).subscription(ear)
    try:
        for channel in ("news", "weather", "sport"):
            subscription.join(channel)
        await ear.listens(3)
        subscription.leave("sport")
        subscription.leave("news")
        subscription.join("news")
        await ear.listens(4)
        await run(client, "PUBLISH", "weather", b"\x00\xff")
        await run(client, "PUBLISH", "news", b"late")
        await ear.hears(2)
        assert sorted(ear.messages) == [("news", b"late"), ("weather", b"\x00\xff")]
        assert [subscription.hears(channel) for channel in ("news", "weather", "sport")] == [True, True, False]
    finally:
        await subscription.aclose()


async def test_a_subscription_comes_back_and_says_so_where_its_connection_was_killed(
    url: str, client: AsyncClient
) -> None:
    ear = Ear()
    subscription = RedisConnections(url).subscription(ear)
    try:
        subscription.join("news")
        await ear.listens(1)
        assert subscription.hears("news")
        await everywhere(client, "CLIENT KILL", "TYPE", "pubsub")
        await ear.listens(2)
        assert ear.losses == 1
        assert subscription.hears("news")
        await run(client, "PUBLISH", "news", b"again")
        await ear.hears(1)
        assert ear.messages == [("news", b"again")]
    finally:
        await subscription.aclose()


@pytest.mark.parametrize("is_pipeline", [False, True])
async def test_a_command_is_not_sent_again_when_its_connection_ends(url: str, *, is_pipeline: bool) -> None:
    connections = RedisConnections(url)
    client = connections.pipeline(timeout=HANG) if is_pipeline else connections.async_client(timeout=HANG)
    waiting = asyncio.ensure_future(run(client, "BLPOP", "{t}list", 20))

    async def waits() -> bool:
        return await blocked_clients(url) == 1

    await eventually(waits)
    await kill_all_others(url)
    with pytest.raises(RedisConnectionError):
        await asyncio.wait_for(waiting, HANG)
    await client.aclose()
    assert await blocked_clients(url) == 0


async def test_a_command_is_not_sent_again_when_its_answer_is_late(url: str) -> None:
    hasty = RedisConnections(url).async_client(timeout=0.2)
    sync = RedisConnections(url).sync_client(timeout=0.2)
    try:
        async with asyncio.timeout(HANG):
            with pytest.raises(RedisTimeoutError):
                await run(hasty, "BLPOP", "{t}list", 1)
            with pytest.raises(RedisTimeoutError):
                await asyncio.to_thread(sync.blpop, ["{t}list"], 1)
    finally:
        await hasty.aclose()
        sync.close()


async def test_no_connection_is_left_open_after_a_failure(url: str, client: AsyncClient) -> None:
    async def is_there() -> bool:
        lists = cast("list[list[dict[str, str]]]", await everywhere(client, "CLIENT LIST"))
        return any(found["name"] == "failing" for clients in lists for found in clients)

    async def is_gone() -> bool:
        return not await is_there()

    failing = RedisConnections(url, client_name="failing").async_client(timeout=0.2)
    try:
        await everywhere(failing, "INFO")
        assert await is_there()
        with pytest.raises(RedisTimeoutError):
            await run(failing, "BLPOP", "{t}list", 1)
    finally:
        await failing.aclose()
    await eventually(is_gone)


async def test_a_connection_that_the_server_has_closed_is_replaced(url: str, client: AsyncClient) -> None:
    sync = RedisConnections(url).sync_client(timeout=HANG)
    try:
        for _ in range(2):
            assert await run(client, "SET", "{t}key", 1)
            assert await asyncio.to_thread(sync.set, "{t}key", 1)
            await kill_all_others(url)
        assert await run(client, "GET", "{t}key") == b"1"
        assert await asyncio.to_thread(sync.get, "{t}key") == b"1"
    finally:
        sync.close()


@pytest.mark.parametrize("url", NOWHERE)
async def test_a_redis_that_is_not_there_is_a_connection_error(url: str) -> None:
    connections = RedisConnections(url, connect_timeout=HANG)
    for client in (connections.async_client(timeout=HANG), connections.pipeline(timeout=HANG)):
        try:
            for _ in range(2):
                with pytest.raises(RedisConnectionError, match=r"127\.0\.0\.1:") as caught:
                    await run(client, "GET", "x")
                assert "\n" not in str(caught.value)
                assert "<" not in str(caught.value)
        finally:
            await client.aclose()


@pytest.mark.parametrize("url", NOWHERE)
def test_a_redis_that_is_not_there_is_a_connection_error_in_a_thread_too(url: str) -> None:
    def ask() -> None:
        client: redis.Redis | redis.RedisCluster = RedisConnections(url, connect_timeout=HANG).sync_client(timeout=HANG)
        try:
            client.get("x")
        finally:
            client.close()

    with pytest.raises(RedisConnectionError, match=r"127\.0\.0\.1:"):
        ask()


async def test_a_wrong_password_is_refused(url: str) -> None:
    connections = RedisConnections(url.replace("://:", "://:not-", 1))
    for client in (connections.async_client(timeout=HANG), connections.pipeline(timeout=HANG)):
        try:
            with pytest.raises(RedisConnectionError, match=r"(?i)password") as caught:
                await run(client, "GET", "x")
            assert isinstance(caught.value, AuthenticationError) or url.startswith("cluster")
        finally:
            await client.aclose()
