"""What a broker keeps in Redis has bounds."""

import pytest
from redis.asyncio import Redis
from tests.kiqstart.integration.broker.brokers import Brokers, entries_of, working

from kiqstart.broker import forgetting, janitor
from kiqstart.broker.cancellation import CancelOutcome
from kiqstart.broker.options import StreamOptions
from kiqstart.tasks.registration import register_task
from kiqstart.testing import eventually


async def nothing() -> None: ...


async def test_dead_letters_are_bounded_by_their_bytes(brokers: Brokers, redis: Redis) -> None:
    broker = brokers(options=StreamOptions(lease=1.0, dead_letter_bytes=300_000))
    for number in range(100):
        await redis.xadd(broker.keys.dead, {"data": "x" * 10_000, "number": number})

    async def is_bounded() -> bool:
        return (await redis.memory_usage(broker.keys.dead, samples=0) or 0) < 350_000

    async with working(broker):
        await eventually(is_bounded)
    kept = await entries_of(redis, broker.keys.dead)
    assert 10 < len(kept) < 40
    assert kept[-1][1]["number"] == "99"
    assert await broker.dead_letters.dropped() == 100 - len(kept)


async def test_marks_of_unknown_ids_are_bounded(brokers: Brokers, redis: Redis) -> None:
    broker = brokers(options=StreamOptions(lease=1.0, cancel_limit=20))
    for number in range(50):
        await broker.cancel(f"nobody-{number}")
    assert await redis.zcard(broker.keys.cancelled) == 20


async def test_a_queue_that_no_worker_takes_any_more_is_forgotten_when_it_is_empty(
    brokers: Brokers, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(janitor, "_BEATS_BETWEEN_AUDITS", 2)
    old = brokers(queues={"old": 1, "full": 1})
    await old.consume()
    await register_task(old, nothing, name="nothing", queue="full").kiq()
    await old.shutdown()
    await redis.hset(old.keys.worker_info, "kiq-gone-1000", "{}")
    await redis.sadd(old.keys.draining, "kiq-gone-1000")
    broker = brokers(options=StreamOptions(lease=1.0))

    async def is_forgotten() -> bool:
        is_old_gone = not await redis.exists(*old.keys.streams("old"), old.keys.draining)
        return is_old_gone and await redis.smembers(old.keys.queues) == {"default", "full"}

    async with working(broker):
        await eventually(is_forgotten)
        assert await redis.xlen(old.keys.stream("full")) == 1
        assert await redis.hlen(old.keys.worker_info) == 1


async def test_queues_that_no_worker_has_ever_taken_are_known_while_something_waits_in_them(
    brokers: Brokers, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(janitor, "_BEATS_BETWEEN_AUDITS", 2)
    monkeypatch.setattr(forgetting, "_FORGOTTEN_AT_ONCE", 3)
    sender, other = brokers(), brokers(queues={"late": 1})
    task = register_task(sender, nothing, name="nothing")
    sent = [await task.kicker().with_labels(queue_name=name).kiq() for name in ("late", "kept", "a", "b", "c")]
    assert await redis.smembers(sender.keys.untaken) == {"late", "kept", "a", "b", "c"}
    await other.consume()
    for one in sent[2:]:
        assert await sender.cancel(one.task_id) is CancelOutcome.WAITING

    async def is_forgotten() -> bool:
        return await redis.smembers(sender.keys.untaken) == {"kept"}

    async with working(brokers(options=StreamOptions(lease=1.0))):
        await eventually(is_forgotten)
    assert not await redis.exists(*sender.keys.streams("a"))
    assert [await redis.xlen(sender.keys.stream(name)) for name in ("late", "kept")] == [1, 1]
