from redis.asyncio import Redis
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, working

from kiqstart.tasks.registration import register_task


async def double(number: int = 1) -> int:
    return number * 2


async def test_a_worker_leaves_the_queues_alone_that_it_does_not_take(brokers: Brokers, redis: Redis) -> None:
    broker = brokers()
    task = register_task(broker, double, name="double")
    low = register_task(broker, double, name="double-low", queue="low")
    registered = await low.kiq()
    labelled = await task.kicker().with_labels(queue_name="low").kiq()
    async with working(broker):
        assert not (await (await task.kiq()).wait_result(timeout=HANG)).is_err
    assert await redis.xlen(broker.keys.stream("low")) == 2
    other = brokers(queues={"low": 1})
    for name in ("double", "double-low"):
        register_task(other, double, name=name)
    waiting = await task.kiq()
    async with working(other):
        for sent in (registered, labelled):
            assert (await sent.wait_result(timeout=HANG)).return_value == 2
    assert not await waiting.is_ready()
    assert await redis.xlen(broker.keys.stream("default")) == 1


async def test_queues_are_taken_as_their_weights_say_and_none_waits_for_the_others(brokers: Brokers) -> None:
    broker = brokers(queues={"default": 3, "low": 1})
    runs: list[str] = []

    async def run(queue: str) -> None:
        runs.append(queue)

    task = register_task(broker, run, name="run")
    for _ in range(36):
        await task.kiq(queue="default")
    sent = [await task.kicker().with_labels(queue_name="low").kiq(queue="low") for _ in range(12)]
    async with working(broker, max_async_tasks=1):
        for one in sent:
            await one.wait_result(timeout=HANG)
    for begin in range(0, 40, 4):
        assert runs[begin : begin + 4].count("low") == 1


async def test_a_retry_stays_in_its_queue(brokers: Brokers, redis: Redis) -> None:
    broker = brokers(queues={"low": 1})
    tries = 0

    async def run() -> int:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise OSError
        return tries

    delayed = register_task(broker, run, name="run", queue="low", max_retries=2, retry_delay=0.1)
    async with working(broker):
        assert (await (await delayed.kiq()).wait_result(timeout=HANG)).return_value == 3
    assert not await redis.exists(broker.keys.stream("default"))
