"""A planned failover behind one address: the former master lives on, and connections to it stay open."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from functools import partial
from pathlib import Path
from typing import cast

import pytest
from redis.exceptions import BusyLoadingError, MasterDownError, ReadOnlyError, RedisError, ResponseError
from tests.deadlines import HANG
from tests.kiqstart.integration.redis.pipelines import pipeline_to
from tests.kiqstart.integration.redis.servers import ESCAPED_PASSWORD, PASSWORD, Server, make_server, running
from tests.network.relay import Relay, Streams, relaying

from kiqstart.broker import result_waiter as waiting
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.keys import QueueKeys
from kiqstart.redis.connections import RedisConnections
from kiqstart.redis.demotion import is_demotion
from kiqstart.tasks.registration import register_task


class Address(Relay):
    """Leads new connections to the master, and leaves those that there are."""

    def __init__(self, master: Server, standby: Server, path: Path) -> None:
        super().__init__()
        self.url = f"unix://:{ESCAPED_PASSWORD}@{path}"
        self.master = master
        self._standby = standby

    async def connect(self) -> Streams:
        """Connect to the master of this moment."""
        return await asyncio.open_connection("127.0.0.1", self.master.port)

    def fail_over(self) -> None:
        """Demote the master, to be a replica of nobody."""
        with self.master.client() as demoted:
            demoted.replicaof("127.0.0.1", 1)
        self.master = self._standby

    async def keys(self) -> list[bytes]:
        """What is in the master."""

        def ask() -> list[bytes]:
            with self.master.client() as client:
                return cast("list[bytes]", client.keys())

        return await asyncio.to_thread(ask)


@pytest.fixture
def pair(tmp_path: Path) -> Generator[tuple[Server, Server]]:
    one, other = (make_server(tmp_path / name, password=PASSWORD) for name in ("one", "other"))
    with running(one), running(other):
        yield one, other


@pytest.fixture
async def address(pair: tuple[Server, Server], tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Address]:
    path = tmp_path_factory.mktemp("a") / "s"
    address = Address(*pair, path)
    async with relaying(address, partial(asyncio.start_unix_server, path=path)):
        yield address


async def test_a_pipeline_connects_anew(address: Address) -> None:
    async with pipeline_to(address.url) as client:
        await client.execute_command("SET", "old", 1)
        address.fail_over()
        asked = [client.execute_command("SET", "new", 1), client.execute_command("GET", "new")]
        refused, _ = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(refused, ReadOnlyError)
        await asyncio.sleep(0)
        assert await client.execute_command("SET", "new", 1) == b"OK"
        assert await address.keys() == [b"new"]


async def test_a_pipeline_connects_anew_where_a_script_is_refused(address: Address) -> None:
    async with pipeline_to(address.url) as client:
        await client.execute_command("PING")
        address.fail_over()
        with pytest.raises(ResponseError, match="read only"):
            await client.eval("return redis.call('SET', KEYS[1], 1)", 1, "new")
        await asyncio.sleep(0)
        assert await client.execute_command("SET", "new", 1) == b"OK"


async def test_a_pool_replaces_all_of_its_connections(address: Address) -> None:
    client = RedisConnections(address.url).async_client(timeout=HANG)
    try:
        await asyncio.gather(*(client.get("old") for _ in range(5)))
        address.fail_over()
        with pytest.raises(ReadOnlyError):
            await client.set("new", 1)
        await client.set("new", 1)
        # None of the others still reads from the former master.
        assert await asyncio.gather(*(client.get("new") for _ in range(5))) == [b"1"] * 5
    finally:
        await client.aclose()


async def test_a_client_of_a_thread_connects_anew(address: Address) -> None:
    client = RedisConnections(address.url).sync_client(timeout=HANG)
    try:
        await asyncio.to_thread(client.get, "old")
        address.fail_over()
        with pytest.raises(ReadOnlyError):
            await asyncio.to_thread(client.set, "new", 1)
        assert await asyncio.to_thread(client.set, "new", 1)
        assert await address.keys() == [b"new"]
    finally:
        client.close()


async def test_sends_go_on_and_results_are_heard_without_a_look(
    address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_SECONDS_BETWEEN_LOOKS", 1e6)
    broker = StreamBroker(address.url, queue_name="q")
    keys = QueueKeys("q")

    async def note() -> None: ...

    task = register_task(broker, note, name="note")
    try:
        sent = await task.kiq()
        hearing = asyncio.create_task(sent.wait_result(timeout=HANG))
        await asyncio.sleep(0.2)
        address.fail_over()
        await task.kiq()
        assert b"q" in await address.keys()

        def announce() -> int:
            result = b'{"is_err": false, "return_value": null, "execution_time": 0}'
            with address.master.client() as client:
                return client.publish(keys.result(sent.task_id), result)

        async with asyncio.timeout(HANG):
            while not await asyncio.to_thread(announce):
                pass
        assert not (await hearing).is_err
    finally:
        await broker.shutdown()


@pytest.mark.parametrize(
    "error",
    [
        ReadOnlyError("You can't write against a read only replica."),
        ResponseError(
            "Error running script (call to f_1): @user_script:1: -READONLY You can't write against a read only replica."
        ),
        ResponseError("UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"),
        BusyLoadingError("Redis is loading the dataset in memory"),
        MasterDownError("Link with MASTER is down and replica-serve-stale-data is set to 'no'."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_demoted_server_says(error: RedisError) -> None:
    assert is_demotion(error)


def test_what_a_master_says() -> None:
    assert not is_demotion(ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"))
