"""Whatever makes a task a dead letter: its caller, who waits, hears of it."""

from typing import Final

import pytest
from redis.asyncio import Redis
from taskiq import NoResultError
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, letters_of, working

from kiqstart.broker import janitor
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.options import StreamOptions
from kiqstart.tasks.registration import register_task
from kiqstart.testing import eventually

# Another part of a delayed message; its layout stands last.
_CHANGE: Final = """
local fields = cmsgpack.unpack(redis.call('HGET', KEYS[1], ARGV[1]))
fields[tonumber(ARGV[2])] = tonumber(ARGV[3]) or ARGV[3]
return redis.call('HSET', KEYS[1], ARGV[1], cmsgpack.pack(fields))
"""


async def run(filling: str = "") -> int:
    return len(filling)


async def outcome_of(broker: StreamBroker, task_id: str) -> str:
    error = (await broker.ping.task(task_id).wait_result(timeout=HANG)).error
    return f"{type(error).__name__}: {error}"


async def reasons(redis: Redis, broker: StreamBroker) -> list[str]:
    return [letter["reason"] for letter in await letters_of(redis, broker)]


async def test_one_whose_early_acknowledgement_redis_refuses(broker: StreamBroker, redis: Redis) -> None:
    task = register_task(broker, run, name="run", acks_late=False)
    await redis.set(broker.keys.early, "foreign")
    async with working(broker):
        sent = await task.kiq()
        assert "WRONGTYPE" in await outcome_of(broker, sent.task_id)
        assert await reasons(redis, broker) == ["not-acknowledged"]


async def test_one_that_acknowledges_by_itself_and_asks_for_no_result(brokers: Brokers, redis: Redis) -> None:
    broker = brokers(options=StreamOptions(lease=1.0, max_deliveries=1))

    async def ask_for_none() -> None:
        raise NoResultError

    task = broker.register_task(ask_for_none, task_name="none", ack_type="manual")
    async with working(broker):
        sent = await task.kiq()
        assert "without acknowledging" in await outcome_of(broker, sent.task_id)
        assert await reasons(redis, broker) == ["not-acknowledged"]


@pytest.mark.parametrize("rest", ['"labels": 5}', '"labels": {}, "args": [', '"labels": {}, "args": [], "kwargs": 7}'])
async def test_one_that_cannot_be_read_and_says_first_which_it_is(
    broker: StreamBroker, redis: Redis, rest: str
) -> None:
    data = f'{{"task_id": "one", "task_name": "run", {rest}'
    async with working(broker):
        await redis.xadd(broker.keys.name, {"data": data})
        assert await outcome_of(broker, "one") != "NoneType: None"
        assert await reasons(redis, broker) == ["malformed"]
    assert broker.task_id_of(data.encode()) == "one"


async def test_one_that_is_too_large_and_not_the_first_of_its_id(brokers: Brokers, redis: Redis) -> None:
    sender, worker = brokers(), brokers(options=StreamOptions(lease=1.0, message_bytes=10_000))
    task = register_task(sender, run, name="run")
    register_task(worker, run, name="run")
    for filling in ("", "x" * 20_000):
        await task.kicker().with_task_id("one").kiq(filling)
    async with working(worker):
        assert (await outcome_of(sender, "one")).startswith("TaskTooLargeError")
        assert await reasons(redis, sender) == ["too-large"]


@pytest.mark.parametrize(("place", "value"), [(1, "elsewhere"), (5, "99")], ids=["foreign", "newer"])
async def test_one_that_is_delayed_and_that_no_worker_can_move(
    broker: StreamBroker, redis: Redis, monkeypatch: pytest.MonkeyPatch, place: int, value: str
) -> None:
    monkeypatch.setattr(janitor, "_UNREADABLE_MS", 0)
    task = register_task(broker, run, name="run")
    sent = await task.kicker().with_task_id("one").with_labels(unique="key", delay=0.5).kiq()

    async def is_free() -> bool:
        return not await redis.exists(broker.keys.uniques)

    await redis.eval(_CHANGE, 1, broker.keys.delayed_messages, "one", place, value)
    async with working(broker):
        assert "no worker can read" in await outcome_of(broker, sent.task_id)
        assert await redis.xlen(broker.keys.dead) == 1
        # At once, or with the next audit where it cannot be read which key it is.
        await eventually(is_free)
