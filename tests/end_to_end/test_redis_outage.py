import asyncio
from collections.abc import AsyncGenerator, Generator
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from tests.deadlines import HANG

from kiqstart.local import local_stack
from kiqstart.testing import ProcessFactory, eventually
from todo_service.delivery.tasks.registry import TasksRegistry


@pytest.fixture
def redis_url(tmp_path: Path) -> Generator[str]:
    """A Redis of the test's own, as it is about to suffer."""
    with local_stack(tmp_path / "stack", postgres=False) as stack:
        assert stack.redis_url is not None, stack.redis_missing
        yield stack.redis_url


@pytest_asyncio.fixture
async def redis(redis_url: str) -> AsyncGenerator[Redis]:
    async with Redis.from_url(redis_url) as client:
        yield client


async def answer(registry: TasksRegistry) -> None:
    task = await registry.ping.kiq()
    assert (await task.wait_result(timeout=HANG)).return_value == {"result": "pong"}


async def test_a_worker_goes_on_when_all_its_connections_are_cut(
    registry: TasksRegistry, worker: ProcessFactory, redis: Redis
) -> None:
    with worker() as process:
        await answer(registry)
        await redis.client_kill_filter(_type="normal", skipme=True)
        process.wait_for_log("The queue is out of reach")
        await answer(registry)
        assert process.log.count("Listening started.") == 1


async def test_a_worker_goes_on_when_redis_comes_back_empty(
    registry: TasksRegistry, worker: ProcessFactory, redis: Redis
) -> None:
    with worker() as process:
        await answer(registry)
        await redis.flushall()
        await answer(registry)
        assert process.log.count("Listening started.") == 1


async def test_a_full_redis_lets_workers_work_and_sends_wait(
    registry: TasksRegistry, worker: ProcessFactory, redis: Redis
) -> None:
    waiting = await registry.ping.kicker().after(1.0).kiq()
    await redis.config_set("maxmemory", "1")
    with worker():
        assert (await waiting.wait_result(timeout=HANG)).return_value == {"result": "pong"}
        sending = asyncio.create_task(registry.ping.kiq())
        await eventually(partial(_has_refused, redis, "OOM"))
        assert not sending.done()
        await redis.config_set("maxmemory", "0")
        assert (await (await sending).wait_result(timeout=HANG)).return_value == {"result": "pong"}


async def _has_refused(redis: Redis, code: str) -> bool:
    return f"errorstat_{code}" in await redis.info("errorstats")
