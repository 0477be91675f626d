"""Workers that died are remembered, with where they were and what they ran."""

import json
from datetime import timedelta
from typing import Any, cast

import pytest
from redis.asyncio import Redis
from tests.kiqstart.integration.broker.brokers import Brokers, entries_of, working

from kiqstart.broker.lost_workers import MOST_LOST_KEPT, read_lost_workers
from kiqstart.broker.reclaimer import Reclaimer
from kiqstart.metrics.families import families_of
from kiqstart.metrics.figures import read_figures
from kiqstart.testing import eventually

INFO = json.dumps({"queues": ["default", "mail"], "host": "worker-7", "pid": 4711})
RUNS = json.dumps([{"entry": "1-0@x", "task": "report.build", "id": "5f0c", "began": 1_790_000_000_000}])


async def test_a_dead_worker_is_remembered_with_its_host_and_what_it_ran(
    brokers: Brokers, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    broker, keys = brokers(), brokers().keys
    seconds, _ = await redis.time()
    await redis.zadd(keys.workers, {"kiq-gone": (seconds - 100) * 1000})
    await redis.hset(keys.worker_info, "kiq-gone", INFO)
    await redis.hset(keys.running, "kiq-gone", RUNS)
    async with working(broker):

        async def is_lost() -> bool:
            return bool(await read_lost_workers(broker))

        await eventually(is_lost)
        [found] = await read_lost_workers(broker)
        assert (found.name, found.host, found.pid, list(found.queues)) == (
            "kiq-gone", "worker-7", 4711, ["default", "mail"]
        )  # fmt: skip
        assert [(one.task, one.task_id) for one in found.running] == [("report.build", "5f0c")]
        assert found.last_beat.timestamp() == seconds - 100
        assert found.last_beat < found.lost
        figures = families_of(await read_figures(broker), "x", {})
        [lost] = [one for one in figures if one.name == "kiqstart_worker_lost_timestamp_seconds"]
        assert [(one.labels["worker"], one.labels["host"], one.value) for one in lost.samples] == [
            ("kiq-gone", "worker-7", found.lost.timestamp())
        ]

        async def is_logged() -> bool:
            return "Worker 'kiq-gone' on 'worker-7', process 4711, is gone" in caplog.text

        await eventually(is_logged)
    assert 0 < await redis.ttl(keys.lost_workers) <= timedelta(days=7).total_seconds()


async def test_a_worker_that_ends_is_not_lost(brokers: Brokers) -> None:
    broker, other = brokers(), brokers()
    async with working(broker):
        pass
    assert await read_lost_workers(other) == []


async def test_no_more_than_the_last_ones_are_remembered(brokers: Brokers, redis: Redis) -> None:
    broker, keys = brokers(), brokers().keys
    seconds, _ = await redis.time()
    names = {f"kiq-{number}" for number in range(MOST_LOST_KEPT + 5)}
    await redis.zadd(keys.workers, dict.fromkeys(names, (seconds - 100) * 1000))
    async with working(broker):

        async def are_gone() -> bool:
            return await redis.zcard(keys.workers) == 1

        await eventually(are_gone)
    found = await read_lost_workers(broker)
    assert len({one.name for one in found}) == MOST_LOST_KEPT
    assert {one.name for one in found} < names


async def test_what_a_stranger_says_there_spoils_nothing(brokers: Brokers, redis: Redis) -> None:
    broker, keys = brokers(), brokers().keys
    seconds, _ = await redis.time()
    for odd in ("no JSON", "[]", "1", '{"worker": 1, "beat": [], "info": 2}', "[" * 5000, '{"beat": "1e999"}'):
        await redis.zadd(keys.lost_workers, {odd: seconds * 1000})
    assert await read_lost_workers(broker) == []
    await redis.delete(keys.lost_workers)
    await redis.set(keys.lost_workers, "no set")
    assert await read_lost_workers(broker) == []


async def test_what_a_read_brings_to_a_dead_worker_as_others_take_over_has_no_crash_counted(
    brokers: Brokers, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker, keys, stream = brokers(), brokers().keys, brokers().keys.name
    for number in range(2):
        await redis.xadd(stream, {"data": f"message {number}"})
    await redis.xgroup_create(stream, broker.consumer_group_name, "0")
    await redis.xreadgroup(broker.consumer_group_name, "kiq-gone", {stream: ">"}, count=1)
    await redis.sadd(keys.queues, "default")
    await redis.zadd(keys.workers, {"kiq-gone": 1})
    take_back = Reclaimer._reclaim

    def take_back_after_a_read(reclaimer: Reclaimer, queue: str, source: str, worker: str, **options: Any) -> int:  # noqa: ANN401  # its own
        cast("Any", reclaimer._redis).xreadgroup(broker.consumer_group_name, worker, {stream: ">"})
        return take_back(reclaimer, queue, source, worker, **options)

    monkeypatch.setattr(Reclaimer, "_reclaim", take_back_after_a_read)
    await broker.consume()

    async def are_returned() -> bool:
        return await redis.xlen(keys.returned("default")) == 2

    await eventually(are_returned)
    returned = [fields for _, fields in await entries_of(redis, keys.returned("default"))]
    assert [(one["data"], one["deliveries"]) for one in returned] == [("message 0", "1"), ("message 1", "0")]
