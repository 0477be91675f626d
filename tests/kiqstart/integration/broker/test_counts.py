import pytest
from redis.asyncio import Redis
from tests.kiqstart.integration.broker.brokers import Brokers

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.stats import QueueCount, QueueStats, count_tasks
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.sent_task import ResultTimeoutError


async def work() -> None: ...


async def test_tasks_are_counted_by_queue_and_by_whether_a_worker_has_them(broker: StreamBroker) -> None:
    task = register_task(broker, work, name="work")
    for _ in range(3):
        await task.kiq()
    await task.kicker().with_labels(queue_name="slow").kiq()
    await task.kicker().after(60).kiq()
    consumer = await broker.consume()
    await consumer.fetch(2)
    assert await count_tasks(broker, ["slow", broker.keys.name]) == QueueStats(
        queues=[
            QueueCount(queue="default", waiting=1, running=2),
            QueueCount(queue="slow", waiting=1, running=0),
        ],
        delayed=1,
        dead_letters=0,
        dropped=0,
        workers=1,
    )


async def test_a_worker_that_stopped_renewing_its_lease_does_not_count(brokers: Brokers, redis: Redis) -> None:
    broker = brokers()
    seconds, _ = await redis.time()
    await redis.zadd(broker.keys.workers, {"dead": (seconds - 2) * 1000, "alive": (seconds + 60) * 1000})
    assert (await count_tasks(broker, [])).workers == 1


async def test_who_waits_in_vain_learns_whether_any_worker_takes_the_queue(broker: StreamBroker) -> None:
    task = register_task(broker, work, name="work")
    sent = await task.kicker().with_task_id("one").kiq()
    with pytest.raises(
        ResultTimeoutError, match=r"^work one had no result within 0\.05 s: no worker takes the queue 'default'$"
    ):
        await sent.result(timeout=0.05)
    await broker.consume()
    for queue, reason in (("default", "$"), ("slow", ": no worker takes the queue 'slow'$")):
        sent = await task.kicker().with_task_id("two").with_labels(queue_name=queue).kiq()
        with pytest.raises(ResultTimeoutError, match=rf"^work two had no result within 0\.05 s{reason}"):
            await sent.result(timeout=0.05)
