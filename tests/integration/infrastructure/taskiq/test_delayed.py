import time
from collections.abc import AsyncGenerator
from typing import cast

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from taskiq import BrokerMessage

from kiqstart.infrastructure.taskiq.delayed import RedisDelayedMessages
from kiqstart.testing import eventually


def message(body: bytes) -> BrokerMessage:
    return BrokerMessage(task_id="1", task_name="ping", message=body, labels={})


@pytest_asyncio.fixture
async def redis(redis_url: str) -> AsyncGenerator[Redis]:
    client = Redis.from_url(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def queue(key_prefix: str) -> str:
    return f"{{{key_prefix}}}:tasks"


async def bodies(redis: Redis, queue: str) -> list[bytes]:
    entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", await redis.xrange(queue))
    return [fields[b"data"] for _, fields in entries]


async def test_a_message_waits_in_redis_and_is_moved_once_by_any_of_several_workers(redis: Redis, queue: str) -> None:
    sender = RedisDelayedMessages(redis, queue=queue)
    for number in range(250):
        await sender.add(message(b"%d" % number), delay=0.2)
    await sender.add(message(b"far away"), delay=3600)
    assert await redis.exists(queue) == 0
    workers = [RedisDelayedMessages(redis, queue=queue, interval=0.01) for _ in range(3)]
    for worker in workers:
        worker.start()

    async def all_moved() -> bool:
        return await redis.zcard(f"{queue}:delayed") == 1

    await eventually(all_moved)
    for worker in workers:
        await worker.stop()
    assert sorted(await bodies(redis, queue)) == sorted(b"%d" % number for number in range(250))


async def test_nothing_is_moved_early(redis: Redis, queue: str) -> None:
    delayed = RedisDelayedMessages(redis, queue=queue, interval=0.01)
    delayed.start()
    added = time.monotonic()
    await delayed.add(message(b"later"), delay=0.3)

    async def moved() -> bool:
        return bool(await redis.exists(queue))

    await eventually(moved)
    assert time.monotonic() - added >= 0.3
    await delayed.stop()


async def test_a_retry_that_is_decided_twice_is_sent_once(redis: Redis, queue: str) -> None:
    delayed = RedisDelayedMessages(redis, queue=queue)
    await delayed.add(message(b"again"), delay=3600)
    await delayed.add(message(b"again"), delay=3600)
    assert await redis.zcard(f"{queue}:delayed") == 1
