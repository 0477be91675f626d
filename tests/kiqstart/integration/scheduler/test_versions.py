"""Schedules that this scheduler cannot read are left to those that can, and are in nobody's way."""

from datetime import timedelta

import pytest
from redis.asyncio import Redis
from tests.kiqstart.integration.scheduler.timeline import NOW, Timeline

from kiqstart.scheduler.definition import ScheduleDefinition, UnreadableScheduleError
from kiqstart.scheduler.due import DueSchedule
from kiqstart.scheduler.firing import FireRequest
from kiqstart.scheduler.overview import overview
from kiqstart.scheduler.scheduler_loop import SchedulerLoop
from kiqstart.scheduler.store import Entry
from kiqstart.scheduler.triggers import IntervalTrigger

SECOND = timedelta(seconds=1)
TICK = ScheduleDefinition(name="tick", task="work", timing=IntervalTrigger(every=SECOND))
LATER = TICK.model_copy(update={"name": "later"}).dump().replace(b"{", b'{"v":2,', 1)


async def unreadable(due: DueSchedule, now_ms: int) -> list[FireRequest]:  # noqa: ARG001  # of the method it replaces
    raise UnreadableScheduleError("a timing of a later version")


def older_one(timeline: Timeline) -> SchedulerLoop:
    ticker = timeline.ticker(name="a-older")
    ticker._attempts._make = unreadable  # type: ignore[method-assign]  # pyright: ignore[reportAttributeAccessIssue]
    return ticker


async def watch(timeline: Timeline, ticker: SchedulerLoop, seconds: int, *, step_ms: int = 10_000) -> None:
    for _ in range(seconds * 1000 // step_ms):
        timeline.pass_ms(step_ms)
        await ticker.tick()


async def test_an_older_scheduler_leaves_what_it_cannot_read_to_a_newer_one(
    timeline: Timeline, caplog: pytest.LogCaptureFixture
) -> None:
    slow = TICK.model_copy(update={"timing": IntervalTrigger(every=10 * SECOND)})
    older, newer = older_one(timeline), timeline.ticker([slow], name="b-newer")
    await older.tick()
    await newer.tick()
    for _ in range(130):
        timeline.pass_ms(10_000)
        await older.tick()
        await newer.tick()
    assert len(await timeline.times("tick")) == 130
    assert caplog.text.count("Schedule tick cannot be read here and is left to other schedulers: a timing of") == 1


async def test_one_of_a_later_version_is_set_aside_when_nobody_has_sent_it_for_ten_minutes(
    timeline: Timeline, caplog: pytest.LogCaptureFixture
) -> None:
    names = timeline.store._names
    await timeline.redis.hset(names.definitions, "later", LATER)
    await timeline.redis.zadd(names.due, {"later": NOW + 5000})
    ticker = timeline.ticker([TICK])
    await watch(timeline, ticker, 600)
    assert "it is of version 2, of which this scheduler knows 1" in caplog.text
    assert await timeline.redis.hget(names.definitions, "later") == LATER
    assert (await overview(timeline.store, timeline.broker, limit=10)).unreadable == ["later"]
    await watch(timeline, ticker, 20)
    assert await timeline.redis.hget(names.aside, "later") == LATER
    assert await timeline.redis.zrange(names.due, 0, -1) == [b"tick"]
    assert (await overview(timeline.store, timeline.broker, limit=10)).unreadable == ["later"]
    await timeline.store.add([Entry(name="later", data=LATER, due_ms=timeline.now + 60_000)], script="anew")
    assert not await timeline.redis.hexists(names.aside, "later")


async def test_one_that_is_put_right_is_sent(timeline: Timeline) -> None:
    names = timeline.store._names
    await timeline.redis.hset(names.definitions, "tick", b"no JSON")
    await timeline.redis.zadd(names.due, {"tick": NOW})
    ticker = timeline.ticker()
    await watch(timeline, ticker, 60)
    await timeline.redis.hset(names.definitions, "tick", TICK.dump())
    await watch(timeline, ticker, 10)
    assert len(await timeline.times("tick")) == 1


async def many(redis: Redis, timeline: Timeline, data: bytes, count: int, prefix: str) -> None:
    names = timeline.store._names
    async with redis.pipeline(transaction=False) as pipe:
        pipe.hset(names.definitions, mapping={f"{prefix}{place}": data for place in range(count)})
        pipe.zadd(names.due, {f"{prefix}{place}": 1 + place for place in range(count)})
        await pipe.execute()


@pytest.mark.parametrize(("size", "count"), [(10, 5000), (1_000_000, 40)])
async def test_however_much_cannot_be_read_the_others_are_sent_in_time(
    timeline: Timeline, size: int, count: int
) -> None:
    ticker = timeline.ticker([TICK])
    await ticker.tick()
    await many(timeline.redis, timeline, b"x" * size, count, "bad")
    for second in range(1, 4):
        timeline.pass_ms(1000)
        while await ticker.tick() == 0:
            pass
        assert len(await timeline.times("tick")) == second
    assert await timeline.redis.hlen(timeline.store._names.definitions) == count + 1


async def test_no_more_than_some_are_set_aside(timeline: Timeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kiqstart.scheduler.redis_store._MOST_SET_ASIDE", 3)
    await many(timeline.redis, timeline, b"no JSON", 5, "bad")
    await watch(timeline, timeline.ticker([TICK]), 650)
    assert await timeline.redis.hlen(timeline.store._names.aside) == 3
    assert await timeline.redis.hlen(timeline.store._names.definitions) == 3
