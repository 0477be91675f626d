"""Tasks that are acknowledged before they run: none runs twice, and whatever else is promised holds for them too."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis
from taskiq import TaskiqMessage, TaskiqMiddleware, TaskiqResult
from taskiq.acks import AcknowledgeType
from taskiq.kicker import AsyncKicker
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, working

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.cancellation import CancelOutcome
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.results.errors import TaskCancelledError, TaskCutOffError
from kiqstart.testing import eventually


class Sleeper:
    """A task that runs until it may end."""

    def __init__(self) -> None:
        self.begun = self.cancelled = self.ended = 0
        self.may_end = asyncio.Event()

    async def sleep(self) -> str:
        """Sleep."""
        self.begun += 1
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.ended += 1
        return "slept"

    async def is_running(self) -> bool:
        """Whether one runs."""
        return self.begun > self.cancelled + self.ended


@pytest.fixture
def sleeper() -> Sleeper:
    return Sleeper()


@pytest.fixture(params=["the task", "the call", "the worker"])
def who_says_it(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def early(
    broker: StreamBroker, sleeper: Sleeper, who: str, unique: str | None = None
) -> tuple[AsyncKicker[[], Any], dict[str, Any]]:
    """What sends such a task, and the options of the receiver that runs it."""
    if who == "the worker":

        async def sleep() -> str:
            return await sleeper.sleep()

        task = broker.register_task(sleep, task_name="sleep", **({"unique": unique} if unique else {}))
        return task.kicker(), {"ack_type": AcknowledgeType.WHEN_RECEIVED}
    task = register_task(broker, sleeper.sleep, name="sleep", acks_late=who == "the call", unique=unique)
    return (task.kicker().with_labels(ack_type="when_received") if who == "the call" else task.kicker()), {}


async def is_clean(redis: Redis, broker: StreamBroker) -> bool:
    keys = broker.keys
    streams = [*keys.locations("default"), keys.cancelled, keys.early, keys.uniques, keys.delayed]
    sizes = [await redis.xlen(one) for one in streams[:5]]
    return not any(sizes) and not await redis.exists(*streams[5:])


async def test_one_that_runs_is_cancelled_and_nothing_is_left_that_ends_another_one(
    broker: StreamBroker, redis: Redis, sleeper: Sleeper, who_says_it: str
) -> None:
    kicker, options = early(broker, sleeper, who_says_it)
    async with working(broker, **options):
        sent = await kicker.with_task_id("one").kiq()
        await eventually(sleeper.is_running)
        assert await broker.cancel("one") is CancelOutcome.RUNNING
        assert isinstance((await sent.wait_result(timeout=HANG)).error, TaskCancelledError)
        assert sleeper.cancelled == 1
        sleeper.may_end.set()
        again = await kicker.with_task_id("one").kiq()
        assert (await again.wait_result(timeout=HANG)).return_value == "slept"
    assert await is_clean(redis, broker)


async def test_one_that_has_a_unique_key_holds_it_until_it_has_ended(
    broker: StreamBroker, redis: Redis, sleeper: Sleeper, who_says_it: str
) -> None:
    kicker, options = early(broker, sleeper, who_says_it, unique="sleep")
    async with working(broker, **options):
        first = await kicker.kiq()
        await eventually(sleeper.is_running)
        assert (await kicker.kiq()).task_id == first.task_id
        sleeper.may_end.set()
        assert (await first.wait_result(timeout=HANG)).return_value == "slept"
        other = await kicker.kiq()
        assert other.task_id != first.task_id
        assert (await other.wait_result(timeout=HANG)).return_value == "slept"
    assert await is_clean(redis, broker)


async def test_one_that_does_not_end_in_time_is_cut_off_with_its_worker_and_its_caller_hears_of_it(
    brokers: Brokers, redis: Redis, sleeper: Sleeper, who_says_it: str
) -> None:
    broker = brokers()
    kicker, options = early(broker, sleeper, who_says_it, unique="sleep")
    async with working(broker, wait_tasks_timeout=0.1, **options):
        sent = await kicker.kiq()
        await eventually(sleeper.is_running)
    assert sleeper.cancelled == 1
    error = (await brokers().ping.task(sent.task_id).wait_result(timeout=HANG)).error
    assert isinstance(error, TaskCutOffError)
    assert str(error).endswith("was cut off with its worker; it was acknowledged before its end and does not run again")
    assert await is_clean(redis, broker)


async def test_one_whose_worker_is_gone_does_not_run_again_and_its_caller_hears_of_it(
    brokers: Brokers, redis: Redis, sleeper: Sleeper
) -> None:
    lost, other = brokers(), brokers()
    kicker, _ = early(lost, sleeper, "the task", unique="sleep")
    early(other, sleeper, "the task", unique="sleep")
    sent = await kicker.kiq()
    consumer = await lost.consume()
    [delivery] = await consumer.fetch(1)
    await lost.preflight(consumer).accept(delivery)
    assert await consumer.acknowledge_early(delivery)
    await redis.zrem(lost.keys.workers, delivery.worker)
    async with working(other):
        assert isinstance((await sent.wait_result(timeout=HANG)).error, TaskCutOffError)
    assert not sleeper.begun
    assert await is_clean(redis, other)


async def test_one_that_another_worker_has_before_it_begins_does_not_run_here(
    broker: StreamBroker, redis: Redis, sleeper: Sleeper
) -> None:
    kicker, _ = early(broker, sleeper, "the task")
    await kicker.kiq()
    consumer = await broker.consume()
    [delivery] = await consumer.fetch(1)
    # As others take it: they end the lease first.
    await redis.zrem(broker.keys.workers, delivery.worker)
    await redis.xdel(delivery.stream, delivery.entry)
    await redis.xack(delivery.stream, broker.consumer_group_name, delivery.entry)
    assert not await consumer.acknowledge_early(delivery)
    assert delivery.is_lost


async def test_one_that_fails_is_retried(broker: StreamBroker, redis: Redis) -> None:
    tries = 0

    async def fail_once() -> int:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise OSError
        return tries

    task = register_task(broker, fail_once, name="fail", acks_late=False, max_retries=1, retry_delay=0.01)
    async with working(broker):
        assert await (await task.kiq()).result(timeout=HANG) == 2
    assert await is_clean(redis, broker)


class Interrupted(TaskiqMiddleware):
    """Never comes to an end after a task has run."""

    def __init__(self) -> None:
        super().__init__()
        self.has_begun = asyncio.Event()

    async def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        """Wait for ever."""
        del message, result
        self.has_begun.set()
        await asyncio.Event().wait()


async def test_one_that_is_acknowledged_when_it_has_run_is_not_run_again_and_its_caller_hears_of_its_worker(
    brokers: Brokers, redis: Redis
) -> None:
    broker, runs, middleware = brokers(), 0, Interrupted()
    broker.add_middlewares(middleware)

    async def run() -> None:
        nonlocal runs
        runs += 1

    task = broker.register_task(run, task_name="run", ack_type="when_executed")
    async with working(broker, wait_tasks_timeout=0.1):
        sent = await task.kiq()
        await asyncio.wait_for(middleware.has_begun.wait(), HANG)
    other = brokers()
    async with working(other):
        assert isinstance((await other.ping.task(sent.task_id).wait_result(timeout=HANG)).error, TaskCutOffError)
    assert runs == 1
    assert await is_clean(redis, other)
