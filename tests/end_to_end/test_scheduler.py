from dataclasses import replace

import orjson
import pytest
from redis.asyncio import Redis

from kiqstart.testing import ProcessFactory, eventually


@pytest.fixture
def ticking(scheduler: ProcessFactory) -> ProcessFactory:
    """Schedulers of a table with a tick each second, and a daily one."""
    return replace(scheduler, command=[*scheduler.command[:-1], "tests.end_to_end.apps.ticking:scheduler"])


async def wait_for_ticks(redis: Redis, queue: str, count: int) -> None:
    async def enough() -> bool:
        return bool(await redis.xlen(queue) >= count)

    await eventually(enough)


async def occurrences(redis: Redis, queue: str) -> list[str]:
    return [orjson.loads(fields[b"data"])["labels"]["schedule_id"] for _, fields in await redis.xrange(queue)]


async def test_each_tick_is_sent_once_by_any_number_of_schedulers_and_none_early(
    ticking: ProcessFactory, redis_url: str, key_prefix: str
) -> None:
    queue = f"{{{key_prefix}}}:tasks"
    async with Redis.from_url(redis_url) as redis:
        with ticking(), ticking():
            await wait_for_ticks(redis, queue, 3)
        with ticking():  # a restart
            await wait_for_ticks(redis, queue, await redis.xlen(queue) + 2)
        sent = await occurrences(redis, queue)
    assert len(sent) == len(set(sent))
    # The daily schedule is not due, however often a scheduler starts.
    assert {occurrence.partition("@")[0] for occurrence in sent} == {"tick"}


async def test_the_production_table_is_accepted(scheduler: ProcessFactory) -> None:
    with scheduler() as process:
        pass
    assert "Traceback" not in process.log
