import asyncio
from contextlib import AsyncExitStack
from typing import cast

import pytest
from redis.asyncio import Redis
from taskiq import AsyncTaskiqTask
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import (
    Brokers,
    entries_of,
    letters_of,
    move_entry,
    working,
)

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.options import StreamOptions
from kiqstart.tasks.errors import WiringError
from kiqstart.tasks.registration import register_task
from kiqstart.testing import eventually


class Report:
    """A task that goes on, or fails, when it may."""

    def __init__(self, failures: int = 0) -> None:
        self.is_running = asyncio.Event()
        self.may_go_on = asyncio.Event()
        self.runs = 0
        self._failures = failures

    async def make(self, user_id: int, day: str = "today") -> str:
        self.runs += 1
        self.is_running.set()
        await self.may_go_on.wait()
        if self.runs <= self._failures:
            raise OSError("no paper")
        return f"{user_id} {day}"


async def test_while_a_task_waits_or_runs_another_send_of_its_key_gives_that_task(broker: StreamBroker) -> None:
    report = Report()
    task = register_task(broker, report.make, name="report", unique="report:{user_id}:{day}")
    first = await task.kiq(user_id=1)
    assert (await task.kiq(1, "today")).task_id == first.task_id
    assert (await task.kicker().after(60).kiq(user_id=1)).task_id == first.task_id
    other = await task.kiq(user_id=2)
    assert other.task_id != first.task_id
    async with working(broker):
        await report.is_running.wait()
        again = await task.kiq(user_id=1)
        assert again.task_id == first.task_id
        report.may_go_on.set()
        results = [await sent.wait_result(timeout=HANG) for sent in (first, again, other)]
        assert [result.return_value for result in results] == ["1 today", "1 today", "2 today"]
        assert report.runs == 2
        assert (await task.kiq(user_id=1)).task_id != first.task_id


async def test_of_many_who_send_a_key_at_once_one_sends(broker: StreamBroker, redis: Redis) -> None:
    task = register_task(broker, Report().make, name="report", unique="report:{user_id}")
    sent = await asyncio.gather(*(task.kiq(user_id=1) for _ in range(50)))
    assert len({one.task_id for one in sent}) == 1
    assert await redis.xlen(broker.keys.stream("default")) == 1


async def test_a_caller_may_send_beside_the_others(broker: StreamBroker) -> None:
    task = register_task(broker, Report().make, name="report", unique="report:{user_id}")
    first = await task.kiq(user_id=1)
    assert (await task.kicker().with_labels(unique="").kiq(user_id=1)).task_id != first.task_id


async def test_a_key_is_kept_until_the_last_try_and_let_go_with_the_dead_letter(
    broker: StreamBroker, redis: Redis
) -> None:
    report = Report(failures=9)
    report.may_go_on.set()
    task = register_task(broker, report.make, name="report", unique="report:{user_id}", max_retries=1, retry_delay=60)

    async def waits_for_its_retry() -> bool:
        return await redis.zcard(broker.keys.delayed) == 1

    async with working(broker):
        first = await task.kiq(user_id=1)
        await eventually(waits_for_its_retry)
        assert (await task.kiq(user_id=1)).task_id == first.task_id
        # It is due.
        [delayed] = cast("list[str]", await redis.zrange(broker.keys.delayed, 0, -1))
        await redis.zadd(broker.keys.delayed, {delayed: 1}, xx=True)
        assert isinstance((await first.wait_result(timeout=HANG)).error, OSError)
    assert len(await letters_of(redis, broker)) == 1
    assert (await task.kiq(user_id=1)).task_id != first.task_id


@pytest.mark.parametrize("place", ["delayed", "waiting", "running"])
async def test_a_key_is_let_go_when_its_task_is_cancelled(broker: StreamBroker, redis: Redis, place: str) -> None:
    report = Report()
    task = register_task(broker, report.make, name="report", unique="report:{user_id}")
    sent: AsyncTaskiqTask[str] = await task.kicker().after(60 if place == "delayed" else 0).kiq(user_id=1)
    async with AsyncExitStack() as stack:
        if place == "running":
            await stack.enter_async_context(working(broker))
            await report.is_running.wait()
        await broker.cancel(sent.task_id)
        if place == "waiting":
            await stack.enter_async_context(working(broker))
        await sent.wait_result(timeout=HANG)
    assert not await redis.exists(broker.keys.uniques)


async def test_a_task_that_fails_lets_its_key_go(broker: StreamBroker, redis: Redis) -> None:
    report = Report(failures=1)
    report.may_go_on.set()
    task = register_task(broker, report.make, name="report", unique="report:{user_id}")
    async with working(broker):
        assert (await (await task.kiq(user_id=1)).wait_result(timeout=HANG)).is_err
        assert not await redis.exists(broker.keys.uniques)


async def test_the_same_id_twice_is_one_task(broker: StreamBroker, redis: Redis) -> None:
    task = register_task(broker, Report().make, name="report", unique="report:{user_id}")
    for _ in range(2):
        assert (await task.kicker().with_task_id("mine").kiq(user_id=1)).task_id == "mine"
    assert await redis.xlen(broker.keys.stream("default")) == 1


@pytest.mark.parametrize("place", ["waiting", "delayed"])
async def test_the_key_of_a_task_that_was_deleted_by_hand_is_free_again(
    brokers: Brokers, redis: Redis, place: str
) -> None:
    broker = brokers(options=StreamOptions(lease=1.0))
    task = register_task(broker, Report().make, name="report", unique="report:{user_id}")
    await task.kicker().after(60 if place == "delayed" else 0).kiq(user_id=1)
    kept = await task.kicker().after(120).kiq(user_id=2)
    if place == "waiting":
        await redis.xtrim(broker.keys.stream("default"), maxlen=0)
    else:
        [first] = cast("list[str]", await redis.zrange(broker.keys.delayed, 0, 0))
        await redis.zrem(broker.keys.delayed, first)
        await redis.hdel(broker.keys.delayed_messages, first)

    async def is_free() -> bool:
        return await redis.hkeys(broker.keys.uniques) == ["report:2"]

    async with working(broker):
        await eventually(is_free)
        assert (await task.kicker().after(60).kiq(user_id=2)).task_id == kept.task_id


async def test_a_key_whose_task_an_older_version_has_moved_stays_with_it(brokers: Brokers, redis: Redis) -> None:
    broker = brokers(options=StreamOptions(lease=1.0), queues={"other": 1})
    task = register_task(broker, Report().make, name="report", unique="report:{user_id}", queue="low")
    sent = await task.kiq(user_id=1)
    stream, returned = broker.keys.stream("low"), broker.keys.returned("low")
    [(entry, fields)] = await entries_of(redis, stream)
    # It gives a task back without saying where to.
    moved = await move_entry(redis, entry, fields, stream, returned)
    await redis.sadd(broker.keys.queues, "low")

    async def is_found() -> bool:
        return await redis.hget(broker.keys.places, "report:1") == f"{returned}\n{moved}"

    async with working(broker):
        await eventually(is_found)
    assert (await task.kiq(user_id=1)).task_id == sent.task_id


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("report:{user}", "the task takes no argument 'user'"),
        ("report:{user_id", "expected '}' before end of string"),
        ("report:{}", "the task takes no argument ''"),
    ],
)
def test_a_template_that_does_not_fit_stops_the_registration_with_one_line(
    broker: StreamBroker, template: str, problem: str
) -> None:
    with pytest.raises(WiringError) as caught:
        register_task(broker, Report().make, name="report", unique=template)
    text = str(caught.value)
    assert text.endswith(f"task 'report': unique={template!r}: {problem}")
    assert "\n" not in text
