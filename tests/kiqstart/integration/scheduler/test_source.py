import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from taskiq import AsyncBroker, ScheduledTask, TaskiqMessage, TaskiqMiddleware
from tests.kiqstart.integration.broker.brokers import Brokers
from tests.kiqstart.integration.scheduler.timeline import Timeline

from kiqstart.broker.broker import StreamBroker
from kiqstart.redis.commands import async_commands
from kiqstart.scheduler import backlog
from kiqstart.scheduler import scheduler_loop as ticker
from kiqstart.scheduler.conversions import ScheduleError
from kiqstart.scheduler.redis_encoding import sha1
from kiqstart.scheduler.redis_store import RedisScheduleStore
from kiqstart.scheduler.schedules import Schedules
from kiqstart.scheduler.source import DurableScheduleSource
from kiqstart.scheduler.table import IntervalSchedule, Schedule
from kiqstart.tasks.errors import InvalidTaskArgumentsError
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.task import Task
from kiqstart.testing import eventually

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
DAILY = {"task_name": "work", "cron": "@daily"}


async def work(number: int = 0) -> None: ...


@pytest_asyncio.fixture
async def brokers(redis_url: str, key_prefix: str) -> AsyncGenerator[Callable[[], StreamBroker]]:
    made = Brokers(redis_url, f"{{{key_prefix}}}:tasks")

    def make() -> StreamBroker:
        broker = made()
        register_task(broker, work, name="work")
        register_task(broker, work, name="picky", labels={"is_picky": False}, timeout=5)
        register_task(broker, work, name="aside", queue="other")
        register_task(broker, work, name="alone", unique="one")
        return broker

    yield make
    await made.close()


@pytest.fixture
def broker(brokers: Callable[[], StreamBroker]) -> StreamBroker:
    return brokers()


@pytest.fixture
def source(broker: StreamBroker) -> DurableScheduleSource:
    return DurableScheduleSource(broker, [])


@pytest_asyncio.fixture
async def redis(broker: StreamBroker) -> Redis:
    return cast("Redis", broker.connection.redis)


@pytest.fixture
def scheduling(brokers: Callable[[], StreamBroker]) -> "Scheduling":
    return Scheduling(brokers)


class Scheduling:
    """Runs schedulers, each with a broker of its own."""

    def __init__(self, brokers: Callable[[], StreamBroker]) -> None:
        self._brokers = brokers

    @asynccontextmanager
    async def __call__(self, *table: Schedule) -> AsyncGenerator[DurableScheduleSource]:
        broker = self._brokers()
        broker.is_scheduler_process = True
        source = DurableScheduleSource(broker, table)
        await source.startup()
        try:
            yield source
        finally:
            await source.shutdown()


def task(broker: StreamBroker, name: str = "work") -> Task[[int], None]:
    return cast("Task[[int], None]", broker.find_task(name))


def every(name: str, interval: timedelta, task_name: str = "work", **arguments: object) -> IntervalSchedule:
    return IntervalSchedule(name=name, task=task_name, every=interval, arguments=arguments)


async def sent(broker: StreamBroker, queue: str = "default") -> list[TaskiqMessage]:
    redis = cast("Redis", broker.connection.redis)
    entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", await redis.xrange(broker.keys.stream(queue)))
    messages = [broker.formatter.loads(fields[b"data"]) for _, fields in entries]
    for message in messages:
        message.parse_labels()
    return messages


async def wait_for(broker: StreamBroker, count: int, queue: str = "default") -> list[TaskiqMessage]:
    async def are_there() -> bool:
        return len(await sent(broker, queue)) >= count

    await eventually(are_there)
    return await sent(broker, queue)


def names(messages: Sequence[TaskiqMessage]) -> list[str]:
    return [message.task_id.partition("@")[0] for message in messages]


async def test_what_was_added_is_listed_sent_and_removed(
    broker: StreamBroker, source: DurableScheduleSource, scheduling: Scheduling
) -> None:
    ping = task(broker)
    nightly = await ping.kicker().with_schedule_id("nightly").schedule_by_cron(source, "0 2 * * *", 1)
    tick = await ping.kicker().with_schedule_id("tick").schedule_by_interval(source, 1, 2)
    await ping.kicker().with_schedule_id("once").schedule_by_time(source, datetime.now(UTC) + DAY, 3)
    listed = {one.schedule_id: one for one in await source.get_schedules()}
    assert {name: (one.cron, one.interval, one.args) for name, one in listed.items()} == {
        "nightly": ("0 2 * * *", None, [1]),
        "tick": (None, SECOND, [2]),
        "once": (None, None, [3]),
    }
    async with scheduling() as scheduler:
        assert await scheduler.get_schedules() == []
        message = (await wait_for(broker, 1))[0]
        await tick.unschedule()
        await nightly.unschedule()
        count = len(await sent(broker))
        await asyncio.sleep(1.2)
        assert len(await sent(broker)) == count
    assert names([message]) == ["tick"]
    assert message.args == [2]
    assert message.labels["scheduled_at"] == message.task_id.partition("@")[2]
    assert [one.schedule_id for one in await source.get_schedules()] == ["once"]


async def test_labels_keep_their_types(
    broker: StreamBroker, source: DurableScheduleSource, scheduling: Scheduling
) -> None:
    await task(broker, "picky").schedule_by_time(source, datetime.now(UTC), 1)
    async with scheduling():
        (message,) = await wait_for(broker, 1)
    assert message.labels["is_picky"] is False
    assert message.labels["timeout"] == 5


@pytest.mark.parametrize(
    ("schedule", "problem"),
    [
        ({"task_name": "wash", "cron": "@daily"}, "there is no task 'wash'"),
        ({"task_name": "work", "cron": "0 0 30 2 *"}, "cron '0 0 30 2 *'"),
        ({"task_name": "work", "cron": "@daily", "cron_offset": "Mars/Olympus"}, "'Mars/Olympus' is not known"),
        ({"task_name": "work", "interval": 10**10}, "at most a hundred years"),
        ({"task_name": "work", "cron": "@daily", "kwargs": {"number": "many"}}, "argument number: Input should be"),
        ({"task_name": "work", "cron": "@daily", "schedule_id": "listed"}, "table has"),
        ({**DAILY, "labels": {"delay": "soon"}}, "the label delay must be a number of seconds, not 'soon'"),
        ({**DAILY, "labels": {"delay": "1e12"}}, "the label delay='1e12' is more than ten years ahead"),
        ({**DAILY, "labels": {"queue_name": "a b"}}, "has the label queue_name='a b': "),
        ({**DAILY, "schedule_id": "n" * 1001}, "its name has 1001 characters, of which 1000 are possible"),
        ({**DAILY, "schedule_id": "\ud800"}, "a text of it is not UTF-8: surrogates not allowed"),
        ({"task_name": "w" * 100_000, "cron": "@daily"}, "there is no task 'www"),
        ({"task_name": "work", "cron": "@daily", "cron_offset": "x" * 100_000}, "is not known"),
        ({**DAILY, "labels": {"unique": "x" * 9000}}, "its unique key has 9000 bytes, "),
    ],
)
async def test_what_cannot_be_kept_is_refused_with_a_line(
    source: DurableScheduleSource, scheduling: Scheduling, schedule: dict[str, object], problem: str
) -> None:
    bare: dict[str, object] = {"labels": {}, "args": [], "kwargs": {}}
    async with scheduling(every("listed", DAY)) as scheduler:
        await in_effect(scheduler, "listed")
        with pytest.raises((ScheduleError, InvalidTaskArgumentsError)) as refused:
            await source.add_schedule(ScheduledTask.model_validate({**bare, **schedule}))
        with pytest.raises(ScheduleError, match="table"):
            await source.delete_schedule("listed")
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300
    assert await source.get_schedules() == []


async def in_effect(source: DurableScheduleSource, name: str, text: bytes = b"") -> None:
    async def is_kept() -> bool:
        kept = await source.store.get(name)
        return kept is not None and text in kept.data

    await eventually(is_kept)


async def test_a_time_that_is_over_is_sent_once_by_two_schedulers(
    broker: StreamBroker, source: DurableScheduleSource, scheduling: Scheduling
) -> None:
    past = datetime.now(UTC) - timedelta(hours=1)
    async with scheduling(), scheduling():
        for number in range(20):
            await task(broker).schedule_by_time(source, past, number)
        found = await wait_for(broker, 20)
        await asyncio.sleep(0.7)
        assert len(await sent(broker)) == 20
    assert sorted(cast("int", message.args[0]) for message in found) == list(range(20))
    assert {message.labels["scheduled_late"] // 60 for message in found} == {60}
    assert await source.get_schedules() == []


async def test_a_deploy_takes_effect_at_once_also_in_an_older_scheduler(
    broker: StreamBroker, scheduling: Scheduling
) -> None:
    async with scheduling(every("gone", SECOND, number=1), every("kept", SECOND, number=1), every("slowed", SECOND)):
        await wait_for(broker, 3)
        async with scheduling(every("kept", SECOND, number=2), every("slowed", DAY)) as newer:
            await in_effect(newer, "kept", b'"number":2')
        # The newer one has ended: what is sent now is sent by the older one.
        before = len(await sent(broker))
        found = (await wait_for(broker, before + 2))[before:]
    assert set(names(found)) == {"kept"}
    assert {cast("int", message.kwargs["number"]) for message in found} == {2}


async def test_a_unique_key_that_is_held_and_a_queue_of_its_own(
    broker: StreamBroker, source: DurableScheduleSource, scheduling: Scheduling
) -> None:
    waiting = await task(broker, "alone").kiq(0)
    now = datetime.now(UTC)
    await task(broker, "alone").schedule_by_time(source, now, 1)
    await task(broker, "aside").schedule_by_time(source, now, 2)
    async with scheduling():
        (aside,) = await wait_for(broker, 1, "other")
    assert aside.args == [2]
    assert [message.task_id for message in await sent(broker)] == [waiting.task_id]


async def test_what_nobody_can_read_is_left_to_others_and_then_set_aside(
    broker: StreamBroker,
    redis: Redis,
    source: DurableScheduleSource,
    scheduling: Scheduling,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def is_over() -> bool:
        return await redis.zcard(f"{broker.keys.schedules}:due") == 0

    async def only_the_broken_one_is_left() -> bool:
        return cast("list[bytes]", await redis.zrange(f"{broker.keys.schedules}:due", 0, -1)) == [b"broken"]

    await redis.hset(broker.keys.schedules, "broken", "no JSON")
    await redis.zadd(f"{broker.keys.schedules}:due", {"broken": 1, "missing": 2})
    await task(broker).schedule_by_time(source, datetime.now(UTC), 1)
    async with scheduling():
        await wait_for(broker, 1)
        await eventually(only_the_broken_one_is_left)
        await asyncio.sleep(0.5)
        assert await only_the_broken_one_is_left()
        monkeypatch.setattr(backlog, "_SECONDS_FOR_OTHERS", 0.1)
        await eventually(is_over)
    assert await redis.hget(f"{broker.keys.schedules}:aside", "broken") == b"no JSON"
    assert caplog.text.count("Schedule broken cannot be read here and is left to other schedulers: Invalid JSON") == 1
    assert caplog.text.count("Schedule broken is set aside: nobody has sent it") == 1


async def test_a_middleware_that_hangs_after_a_send_holds_no_other_schedule_up(
    brokers: Callable[[], StreamBroker],
) -> None:
    class Hanging(TaskiqMiddleware):
        async def post_send(self, message: TaskiqMessage) -> None:  # noqa: ARG002  # taskiq's hook
            await asyncio.Event().wait()

    broker = brokers()
    broker.with_middlewares(Hanging())
    async with Scheduling(lambda: broker)(every("tick", SECOND), every("tock", SECOND)):
        assert {"tick", "tock"} <= set(names(await wait_for(broker, 4)))


async def test_schedules_that_redis_has_lost_are_in_effect_again(
    broker: StreamBroker, redis: Redis, scheduling: Scheduling
) -> None:
    async with scheduling(every("tick", SECOND)):
        before = await wait_for(broker, 1)
        keys = cast("list[bytes]", await redis.keys(f"{broker.keys.name}*"))
        await redis.delete(*keys)
        after = await wait_for(broker, 2)
    times = [message.task_id for message in (*before, *after)]
    assert len(set(times)) == len(times)


async def test_what_an_older_scheduler_could_not_read_is_put_back_by_the_one_whose_it_is(
    broker: StreamBroker, redis: Redis, scheduling: Scheduling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticker, "_SECONDS_BETWEEN_REPAIRS", 0.2)
    async with scheduling(every("tick", SECOND)):
        await wait_for(broker, 1)
        store = RedisScheduleStore(lambda: async_commands(redis), broker.keys)
        while not await redis.hexists(f"{broker.keys.schedules}:aside", "tick"):
            (mark,) = (await store.poll("older", 1)).page.marks
            kept = cast("bytes", await redis.hget(broker.keys.schedules, "tick"))
            await store.set_aside(mark, sha1(kept))
        before = len(await sent(broker))
        await wait_for(broker, before + 1)
    assert not await redis.hexists(f"{broker.keys.schedules}:aside", "tick")


async def test_what_a_newer_version_has_added_to_a_schedule_is_no_hindrance(
    broker: StreamBroker, redis: Redis, scheduling: Scheduling
) -> None:
    async with scheduling(every("tick", SECOND)) as source:
        await in_effect(source, "tick", b'"tick"')
        kept = cast("bytes", await redis.hget(broker.keys.schedules, "tick"))
        await redis.hset(broker.keys.schedules, "tick", kept.replace(b"{", b'{"colour":"red",', 1))
        before = len(await sent(broker))
        await wait_for(broker, before + 1)


async def test_one_that_is_paused_is_not_sent_until_it_is_resumed_or_run(
    broker: StreamBroker, source: DurableScheduleSource, scheduling: Scheduling
) -> None:
    await task(broker).kicker().with_schedule_id("tick").schedule_by_interval(source, 1, 7)
    await source.schedules.pause("tick")
    async with scheduling():
        await asyncio.sleep(1.2)
        assert await sent(broker) == []
        task_id = await source.schedules.run("tick")
        assert [message.task_id for message in await sent(broker)] == [task_id]
        following = await source.schedules.resume("tick")
        _, message = await wait_for(broker, 2)
    assert datetime.fromisoformat(message.labels["scheduled_at"]) == following


@pytest.mark.parametrize("seconds", [3600, 7200], ids=["unchanged", "changed"])
async def test_one_that_is_paused_stays_so_when_it_is_added_again(
    broker: StreamBroker, source: DurableScheduleSource, seconds: int
) -> None:
    await task(broker).kicker().with_schedule_id("tick").schedule_by_interval(source, 3600, 7)
    await source.schedules.pause("tick")
    await task(broker).kicker().with_schedule_id("tick").schedule_by_interval(source, seconds, 8)
    kept = await source.schedules.get("tick")
    assert (kept.is_paused, kept.due, kept.definition.args) == (True, None, (8,))
    await source.schedules.resume("tick")
    assert (await source.schedules.get("tick")).due is not None


async def test_an_interval_that_is_added_again_keeps_its_next_time(
    broker: StreamBroker, source: DurableScheduleSource
) -> None:
    async def due_of(seconds: int, number: int) -> datetime | None:
        await task(broker).kicker().with_schedule_id("tick").schedule_by_interval(source, seconds, number)
        return (await source.schedules.get("tick")).due

    first = await due_of(3600, 7)
    assert await due_of(3600, 7) == await due_of(3600, 8) == first
    assert (await source.schedules.get("tick")).definition.args == (8,)
    assert await due_of(3601, 8) != first


async def test_what_is_overdue_stays_so_when_it_is_added_again(timeline: Timeline, maker: AsyncBroker) -> None:
    """Else what was missed would not be caught up where a program adds its schedules at each start."""
    maker.register_task(work, task_name="work")
    schedules = Schedules(maker, timeline.store)
    daily = ScheduledTask(task_name="work", labels={}, args=[], kwargs={}, schedule_id="daily", cron="0 * * * *")
    await schedules.add(daily)
    timeline.pass_ms(5_000_000)
    await schedules.add(daily)
    await timeline.ticker().tick()
    assert len(await timeline.times("daily")) == 1


@pytest.mark.parametrize("change", ["pause", "resume", "remove", "run"])
async def test_a_schedule_that_is_not_there_is_refused(source: DurableScheduleSource, change: str) -> None:
    with pytest.raises(ScheduleError, match="there is no schedule 'none'"):
        await getattr(source.schedules, change)("none")
