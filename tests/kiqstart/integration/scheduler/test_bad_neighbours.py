"""Whatever is kept beside a sound schedule: it is sent at each due time, and the bad ones are seen."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, example, given, settings
from redis.asyncio import Redis
from taskiq.serializers import ORJSONSerializer
from tests.kiqstart.integration.scheduler.hostile import PLANTS, Bad, Plant
from tests.kiqstart.integration.scheduler.timeline import NOW, Timeline

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.redis_text import text_of_name
from kiqstart.cli.schedules.listing import schedules_table
from kiqstart.scheduler.conversions import ScheduleError
from kiqstart.scheduler.definition import ScheduleDefinition
from kiqstart.scheduler.occurrence import from_ms
from kiqstart.scheduler.overview import overview
from kiqstart.scheduler.schedules import Schedules
from kiqstart.scheduler.triggers import IntervalTrigger
from kiqstart.tasks.arguments import ArgumentsMiddleware
from kiqstart.tasks.uniqueness import UniquenessMiddleware

SOUND = ScheduleDefinition(name="sound", task="work", timing=IntervalTrigger(every=timedelta(seconds=1)))
ZERO = b'{"name":"bad","task":"work","timing":{"at":"0001-01-01T00:00:00Z"}}'
_numbers = count()


async def work(x: object = None) -> None: ...


def broker_of(url: str, queue: str) -> StreamBroker:
    broker = StreamBroker(url, queue_name=queue)
    broker.register_task(work, "work")
    return broker.with_serializer(ORJSONSerializer()).with_middlewares(ArgumentsMiddleware(), UniquenessMiddleware())


async def plant(redis: Redis, keys: QueueKeys, found: Plant) -> None:
    base = keys.schedules
    for bad in found.bad:
        if bad.definition is not None:
            await redis.hset(base, bad.name, bad.definition)
        if bad.score is not None:
            await redis.zadd(f"{base}:due", {bad.name: bad.score})
        if bad.last is not None:
            await redis.hset(f"{base}:last", bad.name, bad.last)
        if bad.is_paused:
            await redis.sadd(f"{base}:paused", bad.name)
    for key, value in ((f"{base}:looked", found.looked), (f"{base}:table:number", found.table_number)):
        if value is not None:
            await redis.set(key, value)
    if found.scheduler is not None:
        await redis.zadd(f"{base}:schedulers", {found.scheduler: NOW + 1000})


async def look_at_all(timeline: Timeline, broker: StreamBroker, found: Plant) -> None:
    """What the commands of the CLI do."""
    seen = await overview(timeline.store, broker, limit=100)
    assert schedules_table([*seen.table, *seen.added], {}, now=seen.now).row_count == len(seen.table) + len(seen.added)
    schedules = Schedules(broker, timeline.store)
    async for kept in schedules.all():
        assert kept.definition.task
    shown = {one.definition.name for one in (*seen.table, *seen.added)} | set(seen.unreadable)
    kept_names = await timeline.redis.hkeys(timeline.keys.schedules)
    for bad in found.bad:
        has_state = bad.is_paused or await timeline.redis.zscore(f"{timeline.keys.schedules}:due", bad.name) is not None
        if bad.name in kept_names and has_state:
            assert text_of_name(bad.name) in shown
        with suppress(ScheduleError):
            await schedules.get(text_of_name(bad.name))


async def send_beside(url: str, prefix: str, found: Plant, *, deadline: float) -> None:
    keys = QueueKeys(f"{{{prefix}-{next(_numbers)}}}:tasks")
    broker = broker_of(url, keys.name)
    async with Redis.from_url(url) as redis:
        timeline = Timeline(redis, broker, keys)
        ticker = timeline.ticker([SOUND], deadline=deadline)
        await plant(redis, keys, found)
        await ticker.tick()
        for _ in range(4):
            for _ in range(2):
                timeline.pass_ms(500)
                # Those that come first, again and again, are done with.
                for _ in range(50):
                    if await ticker.tick() > 0:
                        break
                else:
                    pytest.fail("the loop never rests")
            assert (await timeline.times("sound"))[-1] == from_ms(timeline.now).isoformat().replace("+00:00", "Z")
        await look_at_all(timeline, broker, found)
        assert len(await timeline.times("sound")) == 4
        await ticker.leave()
        await redis.delete(*await redis.keys(f"{{{prefix}-*"))
    await broker.shutdown()


@pytest.mark.usefixtures("key_prefix")
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(found=PLANTS)
@example(Plant((Bad(b"bad", ZERO, -62_135_596_800_000.0, None, False),), None, None, None))
@example(Plant((Bad(b"\xff", ZERO, float("inf"), None, False),), b"nan", b"x", b"\xff"))
def test_a_sound_schedule_is_sent_beside_anything(redis_url: str, key_prefix: str, found: Plant) -> None:
    # Messages that cannot be made are given up at once, or never.
    asyncio.run(send_beside(redis_url, key_prefix, found, deadline=1e9))
    asyncio.run(send_beside(redis_url, key_prefix, found, deadline=0.0))


async def test_a_time_that_is_over_is_sent_however_early_it_was(redis_url: str, key_prefix: str) -> None:
    keys = QueueKeys(f"{{{key_prefix}}}:tasks")
    broker = broker_of(redis_url, keys.name)
    async with Redis.from_url(redis_url) as redis:
        timeline = Timeline(redis, broker, keys)
        await plant(redis, keys, Plant((Bad(b"bad", ZERO, -62_135_596_800_000.0, None, False),), None, None, None))
        await timeline.ticker().tick()
        assert await timeline.sent() == ["bad@0001-01-01T00:00:00Z"]
    await broker.shutdown()
