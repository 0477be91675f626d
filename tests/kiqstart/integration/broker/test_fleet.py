"""Who lives, what they have, and what waits for whom."""

import os
import socket
from collections import Counter

import pytest
from redis.asyncio import Redis
from tests.kiqstart.integration.broker.brokers import Brokers

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.fleet import read_queues, read_workers
from kiqstart.broker.registrar import Registrar
from kiqstart.tasks.registration import register_task
from kiqstart.testing import eventually

LOADS = {"a": "no JSON", "b": "[]", "c": '{"used": 1e999, "lag": 1}', "d": "[" * 5000, "e": '{"used": 3, "lag": 0.25}'}


async def work() -> None: ...


async def test_a_worker_says_where_it_is_and_what_it_has(brokers: Brokers, redis: Redis) -> None:
    broker, other = brokers(queues={"default": 1, "slow": 2}), brokers()
    task = register_task(broker, work, name="work")
    for _ in range(3):
        await task.kiq()
    consumer = await broker.consume()
    assert len(await consumer.fetch(2)) == 2
    [found] = await read_workers(other)
    assert (found.host, found.pid) == (socket.gethostname(), os.getpid())
    assert (list(found.queues), found.in_flight) == (["default", "slow"], 2)
    assert (found.name, found.is_alive, found.is_ending, found.runs_suspects) == (
        consumer.lease.worker, True, False, False
    )  # fmt: skip
    await redis.sadd(broker.keys.draining, consumer.lease.worker)
    seconds, _ = await redis.time()
    await redis.zadd(broker.keys.workers, {"kiq-gone": (seconds - 100) * 1000})
    silent, ending = await read_workers(other)
    assert (silent.name, silent.is_alive, silent.host, silent.pid, list(silent.queues)) == (
        "kiq-gone",
        False,
        "",
        0,
        [],
    )
    assert 99 <= silent.seconds_since_beat < 160
    assert (ending.name, ending.is_ending) == (consumer.lease.worker, True)


async def test_a_clock_of_redis_that_was_set_is_noticed_within_some_beats(
    brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats: Counter[int] = Counter()
    register, next_beat = Registrar.register, Registrar.next_beat

    def register_then_set_clock(self: Registrar, worker: str) -> None:
        register(self, worker)
        self._offset_ms -= 3_600_000

    def count_beat(self: Registrar) -> int:
        beats[id(self)] += 1
        return next_beat(self)

    monkeypatch.setattr(Registrar, "register", register_then_set_clock)
    monkeypatch.setattr(Registrar, "next_beat", count_beat)
    janitor, other = brokers(), brokers()
    await janitor.consume()
    await other.consume()

    async def have_beaten() -> bool:
        return len(beats) == 2 and min(beats.values()) > 8

    await eventually(have_beaten)
    assert [one.is_alive for one in await read_workers(janitor)] == [True, True]


async def test_what_a_stranger_says_of_himself_spoils_nobodys_line(broker: StreamBroker, redis: Redis) -> None:
    seconds, _ = await redis.time()
    odd = {
        "a": "no JSON",
        "b": "[]",
        "c": '{"queues": 1, "host": [1], "pid": "x"}',
        "d": "[" * 5000,
        "e": '{"pid": 1e999}',
    }
    for name, info in odd.items():
        await redis.zadd(broker.keys.workers, {name: seconds * 1000})
        await redis.hset(broker.keys.worker_info, name, info)
        await redis.set(broker.keys.worker_load(name), LOADS[name])
    found = await read_workers(broker)
    assert [one.name for one in found] == list("abcde")
    # The last one is of a version before this one.
    assert [(one.slots_used, one.loop_lag, one.blocked_seconds) for one in found] == [(None, None, None)] * 4 + [
        (3, 0.25, None)
    ]


async def test_a_queue_shows_what_waits_how_long_and_for_how_many(brokers: Brokers, redis: Redis) -> None:
    broker, sender = brokers(), brokers()
    task = register_task(sender, work, name="work")
    seconds, _ = await redis.time()
    old = f"{(seconds - 50) * 1000}-0"
    await redis.xadd(broker.keys.stream("slow"), {"data": "{}"}, id=old)
    await redis.sadd(broker.keys.queues, "slow")
    await redis.xadd(broker.keys.name, {"data": "{}"}, id=old)
    consumer = await broker.consume()
    assert len(await consumer.fetch(1)) == 1
    await task.kiq()
    # A command looks with a broker of its own, whose group may be another.
    sender.consumer_group_name = "another"
    [worker] = await read_workers(sender)
    assert worker.in_flight == 1
    default, slow = await read_queues(sender)
    assert (default.name, default.waiting, default.running, default.workers, default.is_unserved) == (
        "default", 1, 1, 1, False
    )  # fmt: skip
    assert default.oldest_seconds is not None
    assert default.oldest_seconds < 40, "that a worker has an older one is nothing that waits"
    assert (slow.name, slow.waiting, slow.running, slow.workers, slow.is_unserved) == ("slow", 1, 0, 0, True)
    assert slow.oldest_seconds is not None
    assert slow.oldest_seconds >= 50
