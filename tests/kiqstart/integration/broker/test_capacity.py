"""How much a worker runs and has in hand, while what has ended waits for Redis too."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import working

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.consumer import StreamConsumer
from kiqstart.broker.delivery import Delivery
from kiqstart.broker.receiver.stream_receiver import StreamReceiver
from kiqstart.tasks.registration import register_task
from kiqstart.testing import eventually


class Crowd:
    """A task's runs: how many have begun, run now, and ran at once at most. Closed, it lets none end."""

    def __init__(self, broker: StreamBroker, **options: Any) -> None:  # noqa: ANN401  # those of the task
        self.task = register_task(broker, self.run, name="crowd", **options)
        self.begun = 0
        self.running = 0
        self.most = 0
        self.may_end = asyncio.Event()

    async def run(self) -> None:
        self.begun += 1
        self.running += 1
        self.most = max(self.most, self.running)
        # As long as the others need to begin.
        await asyncio.sleep(0.001)
        await self.may_end.wait()
        self.running -= 1

    async def send(self, count: int) -> list[Any]:
        return await self.task.kiq_many(self.task.call() for _ in range(count))


class HeldSettling:
    """Redis takes nothing that has ended before it may."""

    def __init__(self, consumer: StreamConsumer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.may_go_on = asyncio.Event()
        self._settle = consumer._settlement.begin
        monkeypatch.setattr(consumer._settlement, "begin", self.settle)

    def settle(self, delivery: Delivery) -> Awaitable[Sequence[bool | BaseException]]:
        return asyncio.ensure_future(self._settle_later(delivery))

    async def _settle_later(self, delivery: Delivery) -> Sequence[bool | BaseException]:
        await self.may_go_on.wait()
        return await self._settle(delivery)


@asynccontextmanager
async def held(
    broker: StreamBroker, monkeypatch: pytest.MonkeyPatch, **options: int
) -> AsyncGenerator[tuple[StreamReceiver, StreamConsumer, HeldSettling]]:
    """A worker whose ended tasks Redis does not take until it is told to."""
    consumer = await broker.consume()
    settling = HeldSettling(consumer, monkeypatch)
    async with working(broker, **options) as receiver:
        try:
            yield receiver, consumer, settling
        finally:
            settling.may_go_on.set()


async def some_round_trips(redis: Redis) -> None:
    """As long as a worker needs to read what it has room for."""
    for _ in range(50):
        await redis.ping()


@pytest.mark.parametrize(("max_async_tasks", "max_prefetch"), [(3, 0), (2, 2)])
async def test_while_ended_tasks_wait_for_redis_others_run_up_to_four_times_the_capacity_in_hand(
    broker: StreamBroker, redis: Redis, monkeypatch: pytest.MonkeyPatch, max_async_tasks: int, max_prefetch: int
) -> None:
    crowd, capacity = Crowd(broker), max_async_tasks + max_prefetch
    sent = await crowd.send(40)
    crowd.may_end.set()
    options = {"max_async_tasks": max_async_tasks, "max_prefetch": max_prefetch}
    async with held(broker, monkeypatch, **options) as (_, consumer, settling):

        async def have_run() -> bool:
            return crowd.begun == 4 * capacity and crowd.running == 0

        await eventually(have_run)
        await some_round_trips(redis)
        assert (crowd.begun, len(consumer.in_flight)) == (4 * capacity, 4 * capacity)
        assert await redis.xlen(broker.keys.stream("default")) == 40
        settling.may_go_on.set()
        results = await asyncio.gather(*(one.wait_result(timeout=HANG) for one in sent))
    assert not any(result.is_err for result in results)
    assert crowd.begun == 40
    assert crowd.most == max_async_tasks


async def test_a_worker_is_busy_again_before_redis_has_taken_what_has_ended(
    broker: StreamBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = Crowd(broker)
    await crowd.send(4)
    async with held(broker, monkeypatch, max_async_tasks=2):

        async def are_begun(count: int) -> bool:
            return crowd.begun == count and crowd.running == 2

        await eventually(lambda: are_begun(2))
        crowd.may_end.set()
        crowd.may_end.clear()
        await eventually(lambda: are_begun(4))
        crowd.may_end.set()
    assert crowd.most == 2


async def test_a_task_that_is_acknowledged_before_it_runs_keeps_its_place_until_it_has_run(
    broker: StreamBroker, redis: Redis
) -> None:
    crowd = Crowd(broker, acks_late=False)
    await crowd.send(6)
    async with working(broker, max_async_tasks=2):

        async def are_acknowledged() -> bool:
            return crowd.running == 2 and await redis.hlen(broker.keys.early) == 2

        await eventually(are_acknowledged)
        await some_round_trips(redis)
        assert (crowd.begun, await redis.hlen(broker.keys.early)) == (2, 2)
        crowd.may_end.set()

        async def have_run() -> bool:
            return crowd.begun == 6 and crowd.running == 0

        await eventually(have_run)
    assert crowd.most == 2


async def test_a_run_that_is_cut_off_before_its_first_step_leaves_nothing_in_hand(broker: StreamBroker) -> None:
    crowd, consumer = Crowd(broker), await broker.consume()
    await crowd.send(1)
    [delivery] = await consumer.fetch(1)
    receiver = StreamReceiver(broker, max_async_tasks=1)
    receiver._start(consumer, broker.preflight(consumer), delivery)
    assert delivery.runner is not None
    # As the lease's thread has it done for what another worker has by now.
    delivery.is_lost = True
    delivery.runner.cancel()
    await asyncio.wait({delivery.runner})

    async def is_let_go() -> bool:
        return not consumer.in_flight and not receiver._running and not receiver._occupied

    await eventually(is_let_go)
    assert crowd.begun == 0


async def test_a_task_that_is_cancelled_logs_no_traceback(
    broker: StreamBroker, caplog: pytest.LogCaptureFixture
) -> None:
    crowd = Crowd(broker)
    async with working(broker):
        [sent] = await crowd.send(1)

        async def is_running() -> bool:
            return crowd.running == 1

        await eventually(is_running)
        await broker.cancel(sent.task_id)
        assert (await sent.wait_result(timeout=HANG)).is_err
    assert [record for record in caplog.records if record.exc_info] == []


async def test_tasks_that_are_cut_off_when_their_worker_ends_log_no_traceback(
    broker: StreamBroker, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    crowd = Crowd(broker)
    await crowd.send(3)
    async with working(broker, wait_tasks_timeout=0.0):

        async def are_running() -> bool:
            return crowd.running == 3

        await eventually(are_running)
    assert [record for record in caplog.records if record.exc_info] == []
    assert "3 tasks did not end in time and are given back" in caplog.text
    assert await redis.xlen(broker.keys.returned("default")) == 3
