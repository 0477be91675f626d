"""What a step leaves where Redis refuses a part of it, or its answer is lost."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as LostConnectionError
from redis.exceptions import RedisError, ResponseError
from taskiq import AsyncBroker, TaskiqMessage, TaskiqMiddleware
from tests.kiqstart.integration.redis.servers import make_server, running
from tests.kiqstart.integration.redis.users import url_as
from tests.kiqstart.integration.scheduler.laws_world import Faults, faulty
from tests.kiqstart.integration.scheduler.timeline import NOW, Timeline

from kiqstart.broker.keys import QueueKeys
from kiqstart.redis.commands import async_commands
from kiqstart.scheduler.definition import CatchUp, ScheduleDefinition
from kiqstart.scheduler.firing import FireScript, Outcome
from kiqstart.scheduler.redis_store import RedisScheduleStore
from kiqstart.scheduler.scheduler_loop import SchedulerLoop
from kiqstart.scheduler.store import Entry
from kiqstart.scheduler.triggers import DateTrigger, IntervalTrigger

TICK = ScheduleDefinition(
    name="tick", task="work", timing=IntervalTrigger(every=timedelta(seconds=1)), catch_up=CatchUp.ALL
)
AT = datetime(2027, 1, 15, 8, 0, 2, tzinfo=UTC)
ONCE = {
    name: ScheduleDefinition(name=name, task="work", timing=DateTrigger(at=AT), labels=labels, is_dynamic=True)
    for name, labels in {"plain": {}, "alone": {"unique": "key"}, "delayed": {"delay": 60}}.items()
}
COMMANDS = [
    *("zadd", "zrem", "zscore", "zrangebyscore", "zremrangebyscore", "zrange", "get", "set", "hget", "hset", "hdel"),
    *("hsetnx", "hstrlen", "xadd", "smembers", "sismember", "sadd", "time"),
]
KEYS = ["last", "table", "table_number", "table_names", "paused", "aside", "schedulers", "polled"]


async def add_all(timeline: Timeline) -> None:
    entries = [Entry(name=name, data=one.dump(), due_ms=NOW + 2000) for name, one in ONCE.items()]
    await timeline.store.add(entries, script="all")


async def try_for(timeline: Timeline, ticker: SchedulerLoop, seconds: int) -> None:
    """What a scheduler does that goes on whatever Redis says."""
    for _ in range(seconds):
        timeline.pass_ms(1000)
        try:
            for _ in range(20):
                if await ticker.tick() > 0:
                    break
            else:
                pytest.fail("the loop never rests")
        except RedisError:
            pass


async def all_sent(timeline: Timeline) -> Counter[str]:
    delayed = cast("list[bytes]", await timeline.redis.zrange(timeline.keys.delayed, 0, -1))
    return Counter([*(await timeline.sent()), *(task_id.decode().partition("#")[0] for task_id in delayed)])


def expected(seconds: int) -> Counter[str]:
    ticks = [f"tick@2027-01-15T08:00:{second:02}Z" for second in range(1, seconds + 1)]
    return Counter([*ticks, *(f"{name}@2027-01-15T08:00:02Z" for name in ONCE)])


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_user_who_may_not_use_a_command_sends_nothing_twice_and_loses_nothing(
    timeline: Timeline, redis_url: str, key_prefix: str, command: str
) -> None:
    """For however long: the deadline of a send is over at once."""
    await timeline.redis.execute_command(
        "ACL", "SETUSER", key_prefix, "on", ">secret", "~*", "&*", "+@all", f"-{command}"
    )  # type: ignore[no-untyped-call]
    await timeline.ticker([TICK]).tick()
    await add_all(timeline)
    async with Redis.from_url(url_as(redis_url, key_prefix, "secret")) as poor:
        store, timeline.store = (
            timeline.store,
            RedisScheduleStore(lambda: async_commands(poor), timeline.keys, clock=lambda: timeline.now),
        )
        await try_for(timeline, timeline.ticker([TICK], name="poor", deadline=0.0), 5)
    timeline.store = store
    assert max((await all_sent(timeline)).values(), default=1) == 1
    await try_for(timeline, timeline.ticker([TICK]), 2)
    await timeline.redis.execute_command("ACL", "DELUSER", key_prefix)  # type: ignore[no-untyped-call]
    assert await all_sent(timeline) == expected(7)
    assert await timeline.redis.hkeys(timeline.store._names.definitions) == [b"tick"]


@pytest.mark.parametrize("name", KEYS)
async def test_a_key_that_only_helps_and_is_of_another_type_stops_nothing(timeline: Timeline, name: str) -> None:
    key = getattr(timeline.store._names, name)
    ticker = timeline.ticker([TICK])
    await ticker.tick()
    await add_all(timeline)
    await timeline.redis.delete(key)
    # No key of schedules is a list.
    await timeline.redis.rpush(key, "x")
    await try_for(timeline, ticker, 3)
    assert await all_sent(timeline) == expected(3)
    await try_for(timeline, timeline.ticker([TICK], name="another"), 3)
    assert await all_sent(timeline) == expected(6)


@pytest.mark.parametrize("name", ["definitions", "due"])
async def test_schedules_that_are_of_another_type_are_waited_for(timeline: Timeline, name: str) -> None:
    key = getattr(timeline.store._names, name)
    ticker = timeline.ticker([TICK])
    await ticker.tick()
    await add_all(timeline)
    await timeline.redis.rename(key, f"{key}:kept")
    await timeline.redis.rpush(key, "x")
    await try_for(timeline, ticker, 3)
    assert await all_sent(timeline) == Counter()
    await timeline.redis.rename(f"{key}:kept", key)
    await try_for(timeline, ticker, 3)
    assert await all_sent(timeline) == expected(6)


@pytest.mark.parametrize("name", ["uniques", "delayed", "delayed_messages"])
async def test_a_send_that_is_refused_keeps_no_other_from_being_sent(timeline: Timeline, name: str) -> None:
    key = getattr(timeline.keys, name)
    ticker = timeline.ticker([TICK])
    await ticker.tick()
    await add_all(timeline)
    await timeline.redis.rpush(key, "x")
    await try_for(timeline, ticker, 3)
    refused = "alone" if name == "uniques" else "delayed"
    assert {task_id.partition("@")[0] for task_id in await timeline.sent()} == {"tick", "plain", "alone"} - {refused}
    await timeline.redis.delete(key)
    await try_for(timeline, ticker, 3)
    assert await all_sent(timeline) == expected(6)


async def test_a_full_memory_is_waited_for_however_long_it_lasts(maker: AsyncBroker, tmp_path: Path) -> None:
    with running(make_server(tmp_path)) as server:
        async with Redis(port=server.port) as redis:
            timeline = Timeline(redis, maker, QueueKeys("{full}:tasks"))
            ticker = timeline.ticker([TICK], deadline=0.0)
            await ticker.tick()
            await add_all(timeline)
            await redis.config_set("maxmemory", 1)
            await try_for(timeline, ticker, 4)
            assert await all_sent(timeline) == Counter()
            await redis.config_set("maxmemory", 0)
            await try_for(timeline, ticker, 1)
            assert await all_sent(timeline) == expected(5)


async def test_a_script_that_arrives_twice_is_answered_as_it_was_the_first_time(timeline: Timeline) -> None:
    ticker = timeline.ticker([TICK])
    await ticker.tick()
    timeline.pass_ms(1000)
    poll = await timeline.store.poll("one", 10)
    due = await ticker._backlog.read(poll)
    firings = await ticker._attempts.firings(due, poll.now_ms)
    script = FireScript(scheduler="one", number=5, firings=firings)
    assert await timeline.store.answers(script) is None
    first = await timeline.store.fire(script)
    assert [one.outcome for one in first] == [Outcome.SENT]
    assert await timeline.store.fire(script) == first == await timeline.store.answers(script)
    late = FireScript(scheduler="one", number=4, firings=firings)
    assert [one.outcome for one in await timeline.store.fire(late)] == [Outcome.LOST]
    assert len(await timeline.sent()) == 1


async def test_what_was_sent_is_told_though_its_answer_was_lost(
    timeline: Timeline, maker: AsyncBroker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    told: list[str] = []

    class Noting(TaskiqMiddleware):
        def post_send(self, message: TaskiqMessage) -> None:
            told.append(message.task_id)

    maker.add_middlewares(Noting())
    faults = Faults()
    store, timeline.store = timeline.store, cast("RedisScheduleStore", faulty(timeline.store, faults))
    ticker = timeline.ticker([TICK])
    await ticker.tick()
    timeline.pass_ms(1000)
    faults.loses_answer = True
    with pytest.raises(LostConnectionError):
        await ticker.tick()
    timeline.store, faults.loses_answer = store, False
    await ticker.tick()
    await asyncio.sleep(0)
    assert told == await timeline.sent() == ["tick@2027-01-15T08:00:01Z"]
    assert caplog.text.count("Sent task work with id tick@2027-01-15T08:00:01Z") == 1


async def test_an_addition_that_arrives_twice_sends_once(timeline: Timeline) -> None:
    entry = Entry(name="plain", data=ONCE["plain"].dump(), due_ms=NOW)
    ticker = timeline.ticker()
    assert await timeline.store.add([entry], script="one") == [True]
    timeline.pass_ms(3000)
    await ticker.tick()
    assert await timeline.store.add([entry], script="one") == [True]
    await ticker.tick()
    assert len(await timeline.sent()) == 1
    await timeline.store.add([entry], script="another")
    await ticker.tick()
    assert len(await timeline.sent()) == 2


async def test_an_addition_that_is_refused_changes_nothing(timeline: Timeline) -> None:
    names = timeline.store._names
    await timeline.redis.rpush(names.due, "x")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await timeline.store.add([Entry(name="plain", data=b"{}", due_ms=NOW)], script="one")
    assert not await timeline.redis.exists(names.definitions)


@pytest.mark.parametrize(("change", "command"), [("pause", "zrem"), ("resume", "srem")])
async def test_a_change_that_is_refused_changes_nothing(
    timeline: Timeline, redis_url: str, key_prefix: str, change: str, command: str
) -> None:
    await timeline.ticker([TICK]).tick()
    if change == "resume":
        await timeline.store.pause("tick")
    before = await timeline.store.get("tick")
    await timeline.redis.execute_command("ACL", "SETUSER", key_prefix, "on", ">secret", "~*", "+@all", f"-{command}")  # type: ignore[no-untyped-call]
    async with Redis.from_url(url_as(redis_url, key_prefix, "secret")) as poor:
        store = RedisScheduleStore(lambda: async_commands(poor), timeline.keys, clock=lambda: timeline.now)
        with pytest.raises(ResponseError):
            await (store.pause("tick") if change == "pause" else store.resume("tick", NOW, TICK.dump()))
    await timeline.redis.execute_command("ACL", "DELUSER", key_prefix)  # type: ignore[no-untyped-call]
    assert await timeline.store.get("tick") == before
