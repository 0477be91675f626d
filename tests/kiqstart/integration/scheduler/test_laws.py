"""Whatever happens to schedulers, their store and its clock: what is due is sent, once, and not before its time."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from redis.asyncio import Redis
from taskiq import BrokerMessage
from tests.kiqstart.integration.scheduler.laws_world import World
from tests.kiqstart.integration.scheduler.scenarios import BEGINNINGS, Event, Kind, Scenario, scenarios

from kiqstart.broker.keys import QueueKeys
from kiqstart.redis.commands import async_commands
from kiqstart.scheduler import backlog
from kiqstart.scheduler.definition import CatchUp, ScheduleDefinition
from kiqstart.scheduler.memory_store import MemoryScheduleStore
from kiqstart.scheduler.occurrence import to_ms
from kiqstart.scheduler.redis_store import RedisScheduleStore
from kiqstart.scheduler.store import ScheduleStore
from kiqstart.scheduler.triggers import IntervalTrigger

_REPEATING = {Kind.SET_CLOCK, Kind.EMPTY, Kind.RESTORE}
_EXAMPLES = 80
_HOURLY = ScheduleDefinition(name="hourly", task="ping", timing=IntervalTrigger(every=timedelta(hours=1)))
_OTHERWISE = _HOURLY.model_copy(update={"catch_up": CatchUp.ALL})
_PASS_AN_HOUR = Event(Kind.PASS, by=3_600_000)
_TICK, _FREEZE, _THAW = Event(Kind.TICK), Event(Kind.FREEZE), Event(Kind.THAW)
# Courses of events that chance seldom finds.
_COURSES = {
    "a thawed one is late": (_PASS_AN_HOUR, _FREEZE, Event(Kind.START), _THAW, _TICK),
    "a thawed one is too early": (
        Event(Kind.PASS, by=3_570_000),
        _FREEZE,
        Event(Kind.SET_CLOCK, by=-1),
        _THAW,
    ),
    "a deploy changes all but the times": (_PASS_AN_HOUR, Event(Kind.DEPLOY, which=1)),
    "the clock is set back by hours": (
        *(_PASS_AN_HOUR, _TICK) * 3,
        Event(Kind.SET_CLOCK, by=-9_000_000),
        _TICK,
        *(_PASS_AN_HOUR, _TICK) * 2,
    ),
    "Redis is lost with what was due": (_TICK, _PASS_AN_HOUR, Event(Kind.EMPTY), _TICK, _TICK),
    "Redis is restored with an earlier table": (
        *(_TICK, Event(Kind.SNAPSHOT), Event(Kind.DEPLOY, which=1), _PASS_AN_HOUR, Event(Kind.TICK, which=1)),
        *(Event(Kind.RESTORE), _TICK, _PASS_AN_HOUR, _TICK),
    ),
    "an older scheduler looks first": (
        *(Event(Kind.START_OLDER), Event(Kind.ADD), _PASS_AN_HOUR),
        *(Event(Kind.TICK, which=1), Event(Kind.REPEAT, which=0), _PASS_AN_HOUR, Event(Kind.TICK, which=1)),
    ),
    "the clock is set forward by hours, and back": (
        *(_TICK, Event(Kind.SET_CLOCK, by=9_000_000), _TICK, Event(Kind.SET_CLOCK, by=-9_000_000), _TICK),
        *(_PASS_AN_HOUR, _TICK),
    ),
}
_numbers = count()


@pytest.fixture(autouse=True)
def _never_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "_SECONDS_FOR_OTHERS", 1e9)


def parsed(task_id: str) -> tuple[str, int]:
    name, _, time = task_id.partition("@")
    return name, to_ms(datetime.fromisoformat(time))


def check(world: World, sent: list[str]) -> None:
    assert Counter(parsed(task_id) for task_id in sent) == Counter(world.expected.sends)
    if not _REPEATING & {event.kind for event in world.scenario.events}:
        assert max(Counter(sent).values(), default=1) == 1, "nothing twice"


async def obey_in_redis(scenario: Scenario, redis_url: str, key_prefix: str) -> None:
    keys = QueueKeys(f"{{{key_prefix}-{next(_numbers)}}}:tasks")
    sent: list[str] = []
    async with Redis.from_url(redis_url) as redis:

        def store(clock: Callable[[], int]) -> ScheduleStore:
            return RedisScheduleStore(lambda: async_commands(redis), keys, clock=clock)

        async def empty() -> None:
            entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", await redis.xrange(keys.name))
            sent.extend(json.loads(fields[b"data"])["task_id"] for _, fields in entries)
            await redis.delete(keys.name, *cast("list[bytes]", await redis.keys(f"{keys.schedules}*")))

        saved: dict[bytes, bytes] = {}

        async def schedule_keys() -> list[bytes]:
            return cast("list[bytes]", await redis.keys(f"{keys.schedules}*"))

        async def save() -> None:
            saved.clear()
            saved.update({key: cast("bytes", await redis.dump(key)) for key in await schedule_keys()})

        async def restore() -> None:
            if there := await schedule_keys():
                await redis.delete(*there)
            for key, value in saved.items():
                await redis.restore(key, 0, value)

        world = World(scenario, store, empty, save=save, restore=restore)
        await world.run()
        await empty()
    check(world, sent)


async def obey_in_memory(scenario: Scenario) -> None:
    sent: list[str] = []

    async def send(message: BrokerMessage) -> None:
        sent.append(message.task_id)

    stores: list[MemoryScheduleStore] = []

    def store(clock: Callable[[], int]) -> ScheduleStore:
        stores.append(MemoryScheduleStore(send, clock=clock))
        return stores[-1]

    async def empty() -> None:
        vars(stores[0]).update(_kept={}, _seen_ms={}, _table=None, _number=0, _polled_ms=0)

    world = World(scenario, store, empty)
    await world.run()
    check(world, sent)


_many_scenarios = settings(
    max_examples=_EXAMPLES,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)


@_many_scenarios
@given(scenario=scenarios())
def test_what_is_due_is_sent_once_out_of_memory(scenario: Scenario) -> None:
    asyncio.run(obey_in_memory(scenario))


@pytest.mark.usefixtures("key_prefix")
@_many_scenarios
@given(scenario=scenarios())
def test_what_is_due_is_sent_once_out_of_redis(redis_url: str, key_prefix: str, scenario: Scenario) -> None:
    asyncio.run(obey_in_redis(scenario, redis_url, key_prefix))


@pytest.mark.parametrize("course", _COURSES)
def test_courses_that_are_rare(redis_url: str, key_prefix: str, course: str) -> None:
    scenario = Scenario(BEGINNINGS[0], ((_HOURLY,), (_OTHERWISE,)), (_HOURLY,), _COURSES[course])
    asyncio.run(obey_in_redis(scenario, redis_url, key_prefix))
    asyncio.run(obey_in_memory(scenario))
