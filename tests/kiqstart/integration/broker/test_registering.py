"""A worker looks, before it takes anything, whether the queue is one that it understands."""

import asyncio
from collections import Counter

import pytest
from redis.asyncio import Redis
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import QUICK, Brokers, working

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.options import StreamOptions
from kiqstart.tasks.errors import WiringError
from kiqstart.tasks.registration import register_task


async def test_a_queue_of_a_newer_version_is_left_alone_with_one_line(broker: StreamBroker, redis: Redis) -> None:
    await redis.set(broker.keys.layout, 99)
    with pytest.raises(WiringError, match=r"newer kiqstart .*is 99, this one's is 1\): update"):
        await broker.consume()
    assert not await redis.exists(broker.keys.workers, broker.keys.name)


async def test_a_second_group_would_run_each_task_twice_and_does_not_start(brokers: Brokers) -> None:
    first = brokers()
    other = StreamBroker(brokers.url, queue_name=brokers.queue_name, consumer_group_name="others", options=QUICK)
    await first.consume()
    with pytest.raises(WiringError, match=r"workers of the group 'taskiq' take the queue .* would run once for each"):
        await other.consume()
    await first.shutdown()
    # Its workers have ended: what they have left is run by the new group.
    await other.consume()
    await other.shutdown()


async def test_workers_with_other_leases_leave_each_other_their_tasks(brokers: Brokers) -> None:
    begun: Counter[int] = Counter()

    async def nap(number: int) -> None:
        begun[number] += 1
        await asyncio.sleep(2.5)

    old, new = brokers(options=StreamOptions(lease=10.0)), brokers(options=StreamOptions(lease=1.0))
    tasks = [register_task(one, nap, name="nap") for one in (old, new)]
    async with working(old):
        sent = [await tasks[0].kiq(number) for number in range(3)]
        async with working(new):
            for one in sent:
                assert not (await one.wait_result(timeout=HANG)).is_err
    assert begun == {0: 1, 1: 1, 2: 1}
