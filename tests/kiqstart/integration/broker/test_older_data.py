"""Redis comes back with older data: what runs was never sent there, workers are not known, or have ended since."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import pytest
from redis.asyncio import Redis
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, entries_of, working

from kiqstart.broker.broker import StreamBroker
from kiqstart.tasks.registration import register_task
from kiqstart.testing import eventually


@asynccontextmanager
async def older_data(redis: Redis, broker: StreamBroker) -> AsyncGenerator[None]:
    """Restore at the end of the block what the broker has in Redis at its beginning."""
    base = f"{broker.keys.name}*"
    saved = {key: await redis.dump(key) for key in cast("list[str]", await redis.keys(base))}
    yield
    # In one step: a worker that lives would find an empty Redis in between.
    async with redis.pipeline(transaction=True) as step:
        step.delete(*cast("list[str]", await redis.keys(base)))
        for key, value in saved.items():
            step.restore(key, 0, cast("bytes", value))
        await step.execute()


@pytest.fixture
async def raw_redis(redis_url: str) -> AsyncGenerator[Redis]:
    async with Redis.from_url(redis_url) as client:
        yield client


@pytest.mark.parametrize("labels", [{}, {"unique": "key"}, {"acks_late": False}], ids=str)
async def test_a_task_that_runs_and_is_unknown_to_older_data_ends_with_its_result(
    brokers: Brokers, raw_redis: Redis, caplog: pytest.LogCaptureFixture, labels: dict[str, Any]
) -> None:
    broker = brokers()
    has_begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow() -> int:
        has_begun.set()
        await may_end.wait()
        return 7

    async def quick() -> int:
        return 1

    slow_task, quick_task = register_task(broker, slow, name="slow"), register_task(broker, quick, name="quick")
    async with working(broker):
        assert (await (await quick_task.kiq()).wait_result(timeout=HANG)).return_value == 1
        async with older_data(raw_redis, broker):
            sent = await slow_task.kicker().with_labels(**labels).kiq()
            await asyncio.wait_for(has_begun.wait(), HANG)
        # New ids of the stream are above those that are lost.
        assert (await (await quick_task.kiq()).wait_result(timeout=HANG)).return_value == 1
        may_end.set()
        assert (await sent.wait_result(timeout=HANG)).return_value == 7
    assert "another worker" not in caplog.text


async def test_a_task_that_fails_and_is_unknown_to_older_data_is_retried_once(
    brokers: Brokers, raw_redis: Redis
) -> None:
    broker = brokers()
    has_begun, may_end, tries = asyncio.Event(), asyncio.Event(), 0

    async def flaky() -> int:
        nonlocal tries
        tries += 1
        has_begun.set()
        await may_end.wait()
        if tries == 1:
            raise OSError
        return tries

    task = register_task(broker, flaky, name="flaky", max_retries=3, retry_delay=0)
    async with working(broker):
        async with older_data(raw_redis, broker):
            sent = await task.kiq()
            await asyncio.wait_for(has_begun.wait(), HANG)
        may_end.set()
        assert (await sent.wait_result(timeout=HANG)).return_value == 2


async def test_a_worker_that_older_data_do_not_know_goes_on_with_what_it_runs(
    brokers: Brokers, raw_redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    broker = brokers()
    has_begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow() -> int:
        has_begun.set()
        await may_end.wait()
        return 7

    task = register_task(broker, slow, name="slow")
    # Data of the same queue, from before this worker has begun.
    async with working(brokers()):
        pass
    async with AsyncExitStack() as stack:
        async with older_data(raw_redis, broker):
            await stack.enter_async_context(working(broker))
            sent = await task.kiq()
            await asyncio.wait_for(has_begun.wait(), HANG)
            worker = (await broker.consume()).lease.worker

        async def is_known() -> bool:
            return await raw_redis.zscore(broker.keys.workers, worker) is not None

        await eventually(is_known)
        may_end.set()
        assert (await sent.wait_result(timeout=HANG)).return_value == 7
    assert "stood still" not in caplog.text


async def test_a_worker_of_older_data_that_has_ended_since_has_not_died_of_what_it_has_there(
    brokers: Brokers, raw_redis: Redis, redis: Redis
) -> None:
    ended, witness = brokers(), brokers(queues={"other": 1})
    async with working(witness):
        await ended.ping.kiq()
        [delivery] = await (await ended.consume()).fetch(1)
        async with older_data(raw_redis, ended):
            await ended.shutdown()
            # A beat of the witness, by which it knows that the data are older ones.
            before = await redis.zscore(witness.keys.workers, (await witness.consume()).lease.worker)

            async def has_beaten() -> bool:
                return await redis.zscore(witness.keys.workers, (await witness.consume()).lease.worker) != before

            await eventually(has_beaten)
        returned = ended.keys.returned("default")

        async def is_given_back() -> bool:
            return bool(await entries_of(redis, returned))

        await eventually(is_given_back)
        [(_, fields)] = await entries_of(redis, returned)
    assert (fields["worker"], fields["deliveries"]) == (delivery.worker, "0")
