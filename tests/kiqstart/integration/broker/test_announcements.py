"""How results are announced, and what becomes of those who cannot hear it."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
from redis.asyncio import Redis
from taskiq.exceptions import TaskiqResultTimeoutError
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import working
from tests.kiqstart.integration.redis.servers import make_server, running

from kiqstart.broker.broker import StreamBroker
from kiqstart.tasks.registration import register_task

QUEUE = "{announced}:tasks"
RESULT = "{announced}:tasks:result"


@pytest.fixture
def port(tmp_path: Path) -> Generator[int]:
    with running(make_server(tmp_path)) as server:
        yield server.port


@asynccontextmanager
async def broker_at(url: str) -> AsyncGenerator[StreamBroker]:
    broker = StreamBroker(url, queue_name=QUEUE)
    try:
        yield broker
    finally:
        await broker.shutdown()


async def name() -> str:
    return "production"


async def test_another_databases_result_is_not_taken_for_ones_own(port: int) -> None:
    async with broker_at(f"redis://127.0.0.1:{port}/11") as staging, broker_at(f"redis://127.0.0.1:{port}/10") as other:
        waiting = await register_task(staging, name, name="name").kicker().with_task_id("report").kiq()
        hears_nothing = asyncio.create_task(waiting.wait_result(timeout=1.0))
        # It listens.
        await asyncio.wait({hears_nothing}, timeout=0.2)
        async with working(other):
            sent = await register_task(other, name, name="name").kicker().with_task_id("report").kiq()
            assert (await sent.wait_result(timeout=0.9)).return_value == "production"
        with pytest.raises(TaskiqResultTimeoutError):
            await hears_nothing


@pytest.mark.parametrize(("database", "suffix"), [(0, ""), (3, "@db3")])
async def test_a_channel_has_its_keys_name_where_older_versions_listen(port: int, database: int, suffix: str) -> None:
    url = f"redis://127.0.0.1:{port}/{database}"
    async with Redis.from_url(url) as redis, redis.pubsub() as channel, broker_at(url) as broker:
        await channel.subscribe(f"{broker.keys.result('id')}{suffix}")
        await channel.get_message(timeout=HANG)
        async with working(broker):
            await register_task(broker, name, name="name").kicker().with_task_id("id").kiq()
            message = cast("object", await channel.get_message(ignore_subscribe_messages=True, timeout=HANG))
    assert '"return_value":"production"' in str(message)


async def test_a_user_without_channels_gets_results(port: int) -> None:
    async with Redis.from_url(f"redis://127.0.0.1:{port}/0") as redis:
        await redis.acl_setuser(
            "app", enabled=True, passwords=["+pw"], keys=["*"], commands=["+@all"], reset_channels=True
        )
    async with (
        broker_at(f"redis://app:pw@127.0.0.1:{port}/0") as caller,
        broker_at(f"redis://127.0.0.1:{port}/0") as broker,
    ):
        register_task(broker, name, name="name")
        task = register_task(caller, name, name="name")
        early = [await task.kiq() for _ in range(3)]
        waiting = [asyncio.create_task(sent.wait_result(timeout=HANG)) for sent in early]
        await asyncio.wait(waiting, timeout=0.2)
        async with working(broker):
            assert [(await one).return_value for one in waiting] == ["production"] * 3
            assert (await (await task.kiq()).wait_result(timeout=HANG)).return_value == "production"
