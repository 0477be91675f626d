"""Which tasks are in the queues is known as a look at all of them would show it, though only what is new is read."""

from collections.abc import Collection
from typing import Final

import pytest
from redis.asyncio import Redis
from tests.kiqstart.integration.broker.brokers import Brokers

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.queued_tasks import QueuedTasks

_ALL: Final = frozenset(f"id-{number}" for number in range(3000))


async def send(redis: Redis, stream: str, number: int, entry: str = "*") -> str:
    rest = '"task_name":"work","labels":{},"labels_types":{},"args":[],"kwargs":{}}'
    return str(await redis.xadd(stream, {"data": f'{{"task_id":"id-{number}",{rest}'}, id=entry))


def named(numbers: Collection[int]) -> set[str]:
    return {f"id-{number}" for number in numbers}


@pytest.fixture
def broker(brokers: Brokers) -> StreamBroker:
    return brokers()


async def test_what_comes_moves_and_ends_is_seen(broker: StreamBroker, redis: Redis) -> None:
    queued, keys = QueuedTasks(broker), broker.keys
    assert await queued.among(_ALL) == set()
    sent = {number: await send(redis, keys.name, number) for number in range(5)}
    assert await queued.among(_ALL) == named(range(5))
    assert await queued.among(named({1, 7})) == named({1})
    # In the middle, at the beginning, and to another place.
    await redis.xdel(keys.name, sent[2])
    assert await queued.among(_ALL) == named({0, 1, 3, 4})
    await redis.xdel(keys.name, sent[0])
    assert await queued.among(_ALL) == named({1, 3, 4})
    await redis.xdel(keys.name, sent[4])
    await send(redis, keys.misfits("default"), 4)
    assert await queued.among(_ALL) == named({1, 3, 4})
    # One that is sent twice has not ended with the first.
    await send(redis, keys.name, 1)
    await redis.xdel(keys.name, sent[1])
    assert await queued.among(_ALL) == named({1, 3, 4})
    await redis.delete(keys.name)
    assert await queued.among(_ALL) == named({4})
    await redis.sadd(keys.untaken, "new")
    await send(redis, keys.stream("new"), 9)
    assert await queued.among(_ALL) == named({4, 9})


async def test_older_data_with_which_redis_comes_back_are_read(broker: StreamBroker, redis: Redis) -> None:
    queued, keys = QueuedTasks(broker), broker.keys
    await send(redis, keys.name, 1, "1000-0")
    await send(redis, keys.name, 2, "2000-0")
    await redis.xdel(keys.name, "1000-0")
    assert await queued.among(_ALL) == named({2})
    # What had ended, and was never seen here, is there again.
    await redis.delete(keys.name)
    for number in (1, 2, 3):
        await send(redis, keys.name, number, f"{number}000-0")
    assert await queued.among(_ALL) == named({1, 2, 3})
    await redis.delete(keys.name)
    await send(redis, keys.name, 5, "500-0")
    assert await queued.among(_ALL) == named({5})


async def test_each_message_is_read_once(broker: StreamBroker, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []
    task_id_of = broker.task_id_of

    def counted(data: bytes) -> str | None:
        read.append(data)
        return task_id_of(data)

    monkeypatch.setattr(broker, "task_id_of", counted)
    queued = QueuedTasks(broker)
    for number in range(50):
        await send(redis, broker.keys.name, number)
    for _ in range(3):
        assert await queued.among(named({1000})) == set()
    await send(redis, broker.keys.name, 50)
    await queued.among(named({1000}))
    assert len(read) == 51


async def test_behind_one_that_runs_for_long_what_has_ended_is_forgotten(
    broker: StreamBroker, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kiqstart.broker.queued_tasks._MOST_ENDED", 10)
    queued, stream = QueuedTasks(broker), broker.keys.name
    await send(redis, stream, 0)
    for number in range(1, 40):
        entry = await send(redis, stream, number)
        assert await queued.among(_ALL) == named({0, number})
        await redis.xdel(stream, entry)
    assert sum(map(len, queued._streams.values())) < 20


async def test_of_more_than_it_may_know_it_says_nothing(broker: StreamBroker, redis: Redis) -> None:
    queued = QueuedTasks(broker, most=3)
    sent = [await send(redis, broker.keys.name, number) for number in range(4)]
    assert await queued.among(_ALL) is None
    await redis.xdel(broker.keys.name, sent[0])
    assert await queued.among(_ALL) == named({1, 2, 3})


@pytest.mark.parametrize("value", [b"x", b"{}"])
async def test_a_strangers_entries_and_keys_are_passed_over(broker: StreamBroker, redis: Redis, value: bytes) -> None:
    queued = QueuedTasks(broker)
    await redis.xadd(broker.keys.name, {"data": value})
    await redis.xadd(broker.keys.name, {"other": value})
    await redis.set(broker.keys.misfits("default"), value)
    await send(redis, broker.keys.name, 3)
    assert await queued.among(_ALL) == named({3})
