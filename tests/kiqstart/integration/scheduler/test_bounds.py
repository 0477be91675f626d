"""What stays in Redis of schedules that are gone: nothing; and how much is done in one script."""

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import uuid4

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from taskiq import ScheduledTask
from tests.kiqstart.integration.broker.brokers import Brokers
from tests.kiqstart.integration.scheduler.timeline import NOW, Timeline

from kiqstart.broker.broker import StreamBroker
from kiqstart.scheduler.conversions import ScheduleError
from kiqstart.scheduler.definition import ScheduleDefinition
from kiqstart.scheduler.firing import FireResult, FireScript
from kiqstart.scheduler.redis_store import RedisScheduleStore
from kiqstart.scheduler.scheduler_loop import SchedulerLoop
from kiqstart.scheduler.source import DurableScheduleSource
from kiqstart.scheduler.store import Entry
from kiqstart.scheduler.triggers import DateTrigger, IntervalTrigger

AT = datetime(2027, 1, 15, 8, 0, 1, tzinfo=UTC)
TICK = ScheduleDefinition(name="tick", task="work", timing=IntervalTrigger(every=timedelta(seconds=1)))


def once(place: int, **arguments: object) -> Entry:
    definition = ScheduleDefinition(
        name=f"once-{place}", task="work", timing=DateTrigger(at=AT), kwargs=arguments, is_dynamic=True
    )
    return Entry(name=definition.name, data=definition.dump(), due_ms=NOW + 1000)


async def add(timeline: Timeline, entries: Sequence[Entry]) -> None:
    for start in range(0, len(entries), 500):
        await timeline.store.add(entries[start : start + 500], script=uuid4().hex)


async def settle(ticker: SchedulerLoop) -> None:
    while await ticker.tick() == 0:
        pass


async def left(timeline: Timeline) -> dict[str, int]:
    """How much is in each key of schedules, those apart that are forgotten by themselves."""
    found: dict[str, int] = {}
    for key in cast("list[bytes]", await timeline.redis.keys(f"{timeline.keys.schedules}*")):
        if await timeline.redis.pttl(key) < 0:
            kind = await timeline.redis.type(key)
            count = {b"hash": "HLEN", b"zset": "ZCARD", b"set": "SCARD"}.get(cast("bytes", kind), "EXISTS")
            name = key.decode().removeprefix(timeline.keys.schedules)
            found[name] = cast("int", await timeline.redis.execute_command(count, key))  # type: ignore[no-untyped-call]
    return found


async def test_nothing_is_left_of_schedules_that_are_gone(timeline: Timeline) -> None:
    ticker = timeline.ticker([TICK])
    await ticker.tick()
    await add(timeline, [once(place) for place in range(1500)])
    for place in range(100):
        await timeline.store.pause(f"once-{place}")
    timeline.pass_ms(1000)
    await settle(ticker)
    assert len(await timeline.sent()) == 1401
    for place in range(100):
        assert await timeline.store.remove(f"once-{place}")
    ticking = [TICK.model_copy(update={"name": f"tick-{place}", "is_dynamic": True}) for place in range(300)]
    await add(timeline, [Entry(name=one.name, data=one.dump(), due_ms=timeline.now) for one in ticking])
    await settle(ticker)
    for one in ticking[:100]:
        await timeline.store.pause(one.name)
    await timeline.redis.hset(timeline.store._names.aside, ticking[0].name, b"no JSON")
    for one in ticking:
        assert await timeline.store.remove(one.name)
    await timeline.store.pause("tick")
    await timeline.ticker([]).tick()
    await ticker.leave()
    await timeline.store.leave("one")
    assert await left(timeline) == {":looked": 1, ":table": 1, ":table:number": 1}


async def test_scripts_are_small_however_much_is_due(timeline: Timeline, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, int]] = []
    fire = RedisScheduleStore.fire

    async def noting(store: RedisScheduleStore, script: FireScript) -> list[FireResult]:
        messages = [one.message.message for one in script.firings if one.message is not None]
        sizes.append((len(messages), sum(map(len, messages))))
        return await fire(store, script)

    monkeypatch.setattr(RedisScheduleStore, "fire", noting)
    ticker = timeline.ticker([TICK])
    await ticker.tick()
    await add(timeline, [once(place) for place in range(2000)])
    for place in range(2000, 2012):
        await add(timeline, [once(place, text="x" * 1_000_000)])
    timeline.pass_ms(1000)
    await settle(ticker)
    assert len(await timeline.sent()) == 2013
    assert max(count for count, _ in sizes) == 200
    assert max(size for _, size in sizes) < 4.2 * 1024 * 1024


@pytest_asyncio.fixture
async def broker(redis_url: str, key_prefix: str) -> AsyncGenerator[StreamBroker]:
    async def work(text: str = "") -> None: ...

    brokers = Brokers(redis_url, f"{{{key_prefix}}}:tasks")
    broker = brokers()
    broker.register_task(work, "work")
    yield broker
    await brokers.close()


@pytest.mark.parametrize(
    ("schedule", "problem"),
    [
        ({"schedule_id": "n" * 1001}, "its name has 1001 characters, of which 1000 are possible"),
        ({"args": ["x" * 17_000_000]}, "bytes as JSON, of which 16777216 are possible"),
        ({"schedule_id": "\ud800"}, "surrogates not allowed"),
        ({"time": "9999-12-31T23:59:59-12:00"}, "is not within the years 1 to 9999 of UTC"),
        ({"time": None, "cron": ",".join(["0"] * 2000) + " * * * *"}, "has more than 1000 characters"),
    ],
)
async def test_what_is_too_much_is_refused_with_a_short_line(
    broker: StreamBroker, schedule: dict[str, object], problem: str
) -> None:
    source = DurableScheduleSource(broker)
    bare: dict[str, object] = {
        "task_name": "work",
        "labels": {},
        "args": [],
        "kwargs": {},
        "schedule_id": "one",
        "time": AT,
    }
    with pytest.raises(ScheduleError, match=problem) as refused:
        await source.add_schedule(ScheduledTask.model_validate(bare | schedule))
    assert len(str(refused.value)) < 300
    assert await cast("Redis", broker.connection.redis).exists(broker.keys.schedules) == 0
