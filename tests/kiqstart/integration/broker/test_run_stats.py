"""What becomes of tasks is counted, of all workers together, and each of them once."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace

import pytest
from redis import Redis as SyncRedis
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from taskiq import TaskiqMessage
from tests.deadlines import HANG
from tests.deliveries import delivery_with
from tests.kiqstart.integration.broker.brokers import Brokers, working
from tests.kiqstart.integration.broker.wire import Wire

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.delivery import Delivery
from kiqstart.broker.run_stats import Outcome, RunStats
from kiqstart.broker.stats_batch import FLUSH
from kiqstart.broker.task_stats import TaskStats, read_recent_task_stats, read_task_stats
from kiqstart.redis.commands import blocking_commands
from kiqstart.tasks.registration import register_task
from kiqstart.testing import eventually


async def stats_of(broker: StreamBroker) -> Mapping[str, TaskStats]:
    return {one.task: one for one in await read_task_stats(broker.connection.redis, broker.keys)}


def started_delivery(broker: StreamBroker) -> Delivery:
    return delivery_with(
        stream=broker.keys.name,
        entry=f"{round(time.time() * 1000)}-0",
        seconds=1.0,
        message=TaskiqMessage(task_id="1", task_name="work", labels={}, args=[], kwargs={}),
    )


async def test_each_end_of_a_task_is_counted(brokers: Brokers, redis: Redis) -> None:
    broker = brokers()
    tries = 0

    async def fail() -> None:
        raise LookupError

    async def fail_once() -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise LookupError

    async def hang() -> None:
        await asyncio.Event().wait()

    async def nap() -> None:
        await asyncio.sleep(0.2)

    bad = register_task(broker, fail, name="fail")
    again = register_task(broker, fail_once, name="again", max_retries=3, retry_delay=0)
    never = register_task(broker, fail, name="never", max_retries=1, retry_delay=0)
    hanging, napping = register_task(broker, hang, name="hang"), register_task(broker, nap, name="nap")
    await redis.xadd(broker.keys.name, {"data": "no JSON"})
    before = [await napping.kiq() for _ in range(3)]
    async with working(broker):
        for task in (bad, again, never):
            await (await task.kiq()).wait_result(timeout=HANG)
        cut = await hanging.kiq()

        async def runs() -> bool:
            return (await broker.cancel(cut.task_id)).value == "running"

        await eventually(runs)
        await cut.wait_result(timeout=HANG)
        for one in before:
            await one.wait_result(timeout=HANG)
    found = await stats_of(broker)
    assert {name: dict(one.ended) for name, one in found.items()} == {
        "": {Outcome.DEAD: 1},
        "again": {Outcome.RETRIED: 1, Outcome.SUCCEEDED: 1},
        "fail": {Outcome.FAILED: 1},
        "hang": {Outcome.CANCELLED: 1},
        "nap": {Outcome.SUCCEEDED: 3},
        "never": {Outcome.RETRIED: 1, Outcome.DEAD: 1},
    }
    assert {name: one.started for name, one in found.items() if name} == {
        "again": 2, "fail": 1, "hang": 1, "nap": 3, "never": 2
    }  # fmt: skip
    nap_stats = found["nap"]
    assert (nap_stats.run.count, nap_stats.wait.count) == (3, 3)
    assert sum(nap_stats.run.counts[:3]) == 0, "none took up to 0.1 s"
    assert nap_stats.run.seconds >= 0.6
    # Who sends knows nothing of Redis' hours.
    of_runs = {name: replace(one, sent=0) for name, one in found.items()}
    assert {one.task: one for one in await read_recent_task_stats(broker.connection.redis, broker.keys)} == of_runs
    assert sorted(problem.task for problem in found.values() if problem.problems) == ["", "again", "fail", "never"]


async def test_what_was_added_counts_once_where_the_answer_is_lost(brokers: Brokers, wire: Wire) -> None:
    sender, worker = brokers(), brokers(url=wire.url)

    async def work() -> None: ...

    task = register_task(sender, work, name="work")
    register_task(worker, work, name="work")
    # Known to Redis, so that it is the script's hash that goes over the wire.
    await sender.connection.client.script_load(FLUSH._text)
    async with working(worker):
        await (await task.kiq()).wait_result(timeout=HANG)
        wire.lose_answer_to(FLUSH._sha)

        async def is_counted() -> bool:
            return "work" in await stats_of(sender)

        await eventually(is_counted)
        for _ in range(2):
            await (await task.kiq()).wait_result(timeout=HANG)
    assert (await stats_of(sender))["work"].ended == {Outcome.SUCCEEDED: 3}


async def test_what_came_after_a_lost_answer_is_added_with_it(brokers: Brokers, wire: Wire) -> None:
    broker = brokers()
    await broker.connection.client.script_load(FLUSH._text)
    with SyncRedis.from_url(wire.url, retry=None) as client:
        stats = RunStats(blocking_commands(client), broker.keys, to_redis_ms=lambda _: round(time.time() * 1000))
        run = started_delivery(broker)
        stats.started(run, 0.0)
        stats.ran(run)
        wire.lose_answer_to(FLUSH._sha)
        with pytest.raises(RedisConnectionError):
            await asyncio.to_thread(stats.flush)
        stats.ran(run)
        # As a worker does that ends.
        await asyncio.to_thread(stats.flush)
    assert (await stats_of(broker))["work"].run.count == 2


async def test_a_task_costs_no_command_for_being_counted(brokers: Brokers, wire: Wire) -> None:
    sender, worker = brokers(), brokers(url=wire.url)

    async def work() -> None: ...

    task = register_task(sender, work, name="work")
    register_task(worker, work, name="work")
    await sender.connection.client.script_load(FLUSH._text)
    async with working(worker):
        for one in [await task.kiq() for _ in range(200)]:
            await one.wait_result(timeout=HANG)
        assert wire.count(FLUSH._sha) < 20


@pytest.mark.parametrize("key", ["stats", "hour"])
async def test_a_key_that_holds_something_else_spoils_no_task(brokers: Brokers, redis: Redis, key: str) -> None:
    broker = brokers()

    async def work() -> None: ...

    task = register_task(broker, work, name="work")
    seconds, _ = await redis.time()
    for place in (0, 3_600_000):
        name = broker.keys.stats if key == "stats" else broker.keys.stats_of_hour(seconds * 1000 + place)
        await redis.set(name, "something else")
    async with working(broker):
        assert not (await (await task.kiq()).wait_result(timeout=HANG)).is_err
    if key == "hour":
        assert (await stats_of(broker))["work"].started == 1
