from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from taskiq import ScheduledTask, TaskiqMessage, TaskiqMiddleware
from tests.kiqstart.integration.broker.brokers import Brokers

from kiqstart.broker.broker import StreamBroker
from kiqstart.scheduler.clock import StoreClock
from kiqstart.scheduler.conversions import ScheduleError
from kiqstart.scheduler.definition import ScheduleDefinition
from kiqstart.scheduler.occurrence import to_ms
from kiqstart.scheduler.overview import overview
from kiqstart.scheduler.scheduler_loop import SchedulerLoop
from kiqstart.scheduler.source import DurableScheduleSource
from kiqstart.scheduler.store import Entry
from kiqstart.scheduler.table import IntervalSchedule
from kiqstart.scheduler.triggers import DateTrigger
from kiqstart.tasks.registration import register_task

TABLE = [
    IntervalSchedule(name=name, task="work", every=timedelta(hours=1), arguments={"number": 3})
    for name in ("one", "two")
]
TOMORROW = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)


async def work(number: int) -> None: ...


@pytest_asyncio.fixture
async def broker(redis_url: str, key_prefix: str) -> AsyncGenerator[StreamBroker]:
    brokers = Brokers(redis_url, f"{{{key_prefix}}}:tasks")
    broker = brokers()
    register_task(broker, work, name="work", unique="{number}")
    yield broker
    await brokers.close()


@pytest_asyncio.fixture
async def redis(broker: StreamBroker) -> Redis:
    return cast("Redis", broker.connection.redis)


@pytest.fixture
def source(broker: StreamBroker) -> DurableScheduleSource:
    return DurableScheduleSource(broker)


def ticker_of(broker: StreamBroker, source: DurableScheduleSource) -> SchedulerLoop:
    definitions = [schedule.definition(broker) for schedule in TABLE]
    return SchedulerLoop(broker, source.store, definitions, clock=StoreClock(), send_deadline=0.2)


def once(name: str, time: datetime, number: int = 0, **labels: str) -> ScheduledTask:
    return ScheduledTask(
        task_name="work", args=[number], kwargs={}, labels={"unique": "", **labels}, schedule_id=name, time=time
    )


async def test_an_overview_has_the_table_and_the_first_of_the_others(
    broker: StreamBroker, source: DurableScheduleSource, redis: Redis
) -> None:
    await ticker_of(broker, source).tick()
    for day in range(1, 6):
        await source.add_schedule(once(f"day-{day}", TOMORROW + timedelta(days=day)))
    await source.schedules.pause("day-4")
    await source.schedules.pause("two")
    await redis.hset(broker.keys.schedules, "day-1", "no JSON")
    found = await overview(source.store, broker, limit=3)
    assert [(one.definition.name, one.is_paused) for one in found.table] == [("one", False), ("two", True)]
    # The paused one comes first, then the next ones; one of these cannot be read.
    assert [one.definition.name for one in found.added] == ["day-4", "day-2"]
    assert [one.due for one in found.added] == [None, TOMORROW + timedelta(days=2)]
    assert (found.active, found.paused, found.unreadable) == (5, 2, ["day-1"])
    assert found.seconds_overdue == 0
    assert found.heartbeats.living == 1
    assert [one.definition.name for one in (await overview(source.store, broker, limit=0)).added] == []


async def test_an_overview_says_what_is_overdue_and_that_nobody_looks(
    broker: StreamBroker, source: DurableScheduleSource
) -> None:
    await source.add_schedule(once("late", datetime.now(UTC) - timedelta(seconds=60)))
    found = await overview(source.store, broker, limit=3)
    assert 60 <= found.seconds_overdue < 70
    assert (found.heartbeats.living, found.heartbeats.seconds_since_any) == (0, None)


async def test_a_look_in_the_future_is_none(broker: StreamBroker, source: DurableScheduleSource, redis: Redis) -> None:
    await redis.zadd(f"{broker.keys.schedules}:schedulers", {"gone": (TOMORROW.timestamp()) * 1000})
    assert (await source.store.heartbeats()).seconds_since_any is None
    await ticker_of(broker, source).tick()
    assert len((await source.store.heartbeats()).seen_ms) == 1


async def test_a_schedule_that_is_put_right_is_no_longer_set_aside(
    broker: StreamBroker, source: DurableScheduleSource, redis: Redis
) -> None:
    await redis.hset(f"{broker.keys.schedules}:aside", mapping={"one": "no JSON", "added": "no JSON"})
    assert (await overview(source.store, broker, limit=3)).unreadable == ["added", "one"]
    await ticker_of(broker, source).tick()
    await source.add_schedule(once("added", TOMORROW))
    assert (await overview(source.store, broker, limit=3)).unreadable == []


async def test_a_run_whose_key_another_task_has_is_refused(
    broker: StreamBroker, source: DurableScheduleSource, redis: Redis
) -> None:
    seen: list[str] = []

    class Noting(TaskiqMiddleware):
        def post_send(self, message: TaskiqMessage) -> None:
            seen.append(message.task_id)

    broker.add_middlewares(Noting())
    await ticker_of(broker, source).tick()
    task_id = await source.schedules.run("one")
    with pytest.raises(ScheduleError, match=f"'two' is not sent, since task {task_id} waits or runs with its unique"):
        await source.schedules.run("two")
    assert await redis.xlen(broker.keys.name) == 1
    assert seen == [task_id]


async def test_a_delay_that_is_no_number_holds_up_no_other_schedule(
    broker: StreamBroker, source: DurableScheduleSource, redis: Redis
) -> None:
    now = datetime.now(UTC)
    broken = ScheduleDefinition(
        name="broken", task="work", args=(0,), labels={"delay": "soon"}, timing=DateTrigger(at=now), is_dynamic=True
    )
    # A caller's would be refused.
    await source.store.add([Entry(name="broken", data=broken.dump(), due_ms=to_ms(now))], script="one")
    await source.add_schedule(once("sound", datetime.now(UTC)))
    await ticker_of(broker, source).tick()
    assert await redis.xlen(broker.keys.name) == 1
