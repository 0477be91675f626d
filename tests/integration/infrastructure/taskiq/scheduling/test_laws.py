"""Whatever happens to schedulers, their store and its clock: what is due is sent, once, and not before its time."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from itertools import count
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from redis.asyncio import Redis
from taskiq import BrokerMessage
from tests.integration.infrastructure.taskiq.scheduling.laws_world import World
from tests.integration.infrastructure.taskiq.scheduling.scenarios import Kind, Scenario, scenarios

from kiqstart.infrastructure.taskiq.scheduling.memory_store import MemoryScheduleStore
from kiqstart.infrastructure.taskiq.scheduling.occurrence import to_ms
from kiqstart.infrastructure.taskiq.scheduling.redis_store import RedisScheduleStore
from kiqstart.infrastructure.taskiq.scheduling.store import ScheduleStore
from kiqstart.infrastructure.taskiq.streams.keys import QueueKeys

_REPEATING = {Kind.SET_CLOCK, Kind.EMPTY}
_EXAMPLES = 40
_numbers = count()


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
            return RedisScheduleStore(lambda: redis, keys, clock=clock)

        async def empty() -> None:
            entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", await redis.xrange(keys.name))
            sent.extend(json.loads(fields[b"data"])["task_id"] for _, fields in entries)
            names = ("", ":due", ":last", ":table", ":table:names", ":paused", ":aside", ":schedulers", ":looked")
            await redis.delete(keys.name, *(f"{keys.schedules}{name}" for name in names))

        world = World(scenario, store, empty)
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
        vars(stores[0]).update(_kept={}, _seen_ms={}, _table=None, _looked_ms=0)

    world = World(scenario, store, empty)
    await world.run()
    check(world, sent)


@settings(
    max_examples=_EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(scenario=scenarios())
def test_what_is_due_is_sent_once_out_of_memory(scenario: Scenario) -> None:
    asyncio.run(obey_in_memory(scenario))


@pytest.mark.usefixtures("key_prefix")
@settings(
    max_examples=_EXAMPLES,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)
@given(scenario=scenarios())
def test_what_is_due_is_sent_once_out_of_redis(redis_url: str, key_prefix: str, scenario: Scenario) -> None:
    asyncio.run(obey_in_redis(scenario, redis_url, key_prefix))
