"""Keys, fields and channels of the queue that hold what a stranger has put there."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Final, cast

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, letters_of, working

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.dead_letter import DeadLetterError
from kiqstart.broker.sender import SendFailedError
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.results.errors import UnreadableResultError
from kiqstart.tasks.task import Task
from kiqstart.testing import eventually

Echo = Task[[object], Coroutine[Any, Any, object]]
ANOTHER: Final = "{somebody}:tasks"


async def echo(value: object = None) -> object:
    return value


def echo_of(broker: StreamBroker) -> Echo:
    return register_task(broker, echo, name="echo")


def send_at_once(task: Echo) -> Coroutine[Any, Any, object]:
    return task.kiq(1)


def send_unique(task: Echo) -> Coroutine[Any, Any, object]:
    return task.kicker().with_labels(unique="key").kiq(1)


def send_delayed(task: Echo) -> Coroutine[Any, Any, object]:
    return task.kicker().after(5).kiq(1)


@pytest.mark.parametrize(
    ("key", "send"),
    [
        *(("name", send_at_once), ("name", send_unique), ("uniques", send_unique)),
        *(("delayed", send_delayed), ("delayed_messages", send_delayed)),
    ],
)
async def test_a_send_that_a_foreign_key_stops_names_it_and_its_neighbours_are_sent(
    broker: StreamBroker, redis: Redis, key: str, send: Callable[[Echo], Coroutine[Any, Any, object]]
) -> None:
    task, foreign = echo_of(broker), cast("str", getattr(broker.keys, key))
    await redis.set(foreign, "foreign")
    elsewhere = [task.kicker().with_labels(queue_name="other").kiq(number) for number in range(3)]
    bad, *good = await asyncio.gather(send(task), *elsewhere, return_exceptions=True)
    assert isinstance(bad, SendFailedError)
    assert f"(key {foreign})" in str(bad)
    assert not any(isinstance(one, BaseException) for one in good)
    assert await redis.xlen(broker.keys.stream("other")) == 3


async def test_what_looks_at_a_foreign_key_names_it(broker: StreamBroker, redis: Redis) -> None:
    letters = broker.dead_letters
    for key in (broker.keys.dead, broker.keys.cancelled):
        await redis.set(key, "foreign")
    for look in (letters.list(), letters.count(), letters.purge_all()):
        with pytest.raises(ResponseError, match=rf"WRONGTYPE .*\(key {re.escape(broker.keys.dead)}\)$"):
            await look
    with pytest.raises(ResponseError, match=rf"WRONGTYPE .*\(key {re.escape(broker.keys.cancelled)}\)$"):
        await broker.cancel("task")


async def test_each_try_of_a_task_is_counted_where_no_later_one_can_wait(broker: StreamBroker, redis: Redis) -> None:
    runs: Counter[str] = Counter()

    async def fail() -> None:
        runs["fail"] += 1
        raise LookupError

    task = register_task(broker, fail, name="fail", max_retries=2, retry_delay=60)
    async with working(broker):
        await redis.delete(broker.keys.delayed)
        await redis.sadd(broker.keys.delayed, "foreign")
        error = (await (await task.kiq()).wait_result(timeout=HANG)).error
        assert isinstance(error, LookupError)
        assert (await (await echo_of(broker).kiq(7)).wait_result(timeout=HANG)).return_value == 7
    assert runs["fail"] == 3
    assert [letter["reason"] for letter in await letters_of(redis, broker)] == ["retries-exhausted"]


async def test_the_record_of_a_sender_that_is_forged_stops_its_own_sends_at_most(
    brokers: Brokers, redis: Redis
) -> None:
    victim, other = brokers(), brokers()
    tasks = [echo_of(victim), echo_of(other)]
    record = victim.connection.sender._key
    forged: list[str | bytes] = [b"\xff", b"", b"x\n\x00", b"9" * 5000, b"1\n\xc1", b"7\n\x93\xa3abc\x01\x02"]
    for content in forged:
        await redis.set(record, content)
        for task in tasks:
            answer = await asyncio.wait_for(asyncio.gather(task.kiq(1), return_exceptions=True), HANG)
            assert task is tasks[0] or not isinstance(answer[0], BaseException)
    await redis.delete(record)
    await redis.lpush(record, "foreign")
    await tasks[0].kiq(1)
    await redis.delete(record)
    await tasks[0].kiq(1)
    assert await redis.xlen(other.keys.name) >= len(forged) + 2


@pytest.mark.parametrize("stream", [ANOTHER, "{q}:tasks:queue:a:returned", "{q}:tasks:dead", "", "\n"])
async def test_a_delayed_message_and_a_dead_letter_reach_no_key_that_is_no_queue(
    brokers: Brokers, redis: Redis, stream: str
) -> None:
    broker = brokers()
    task = echo_of(broker)
    stream = stream.replace("{q}:tasks", broker.keys.name)
    message = json.dumps({"task_id": "odd", "task_name": "echo", "labels": {}, "args": [], "kwargs": {}})
    store = "redis.call('HSET', KEYS[1], 'odd', cmsgpack.pack({ARGV[1], '', 'odd', ARGV[2], 1}))"
    await redis.eval(store, 1, broker.keys.delayed_messages, stream, message)
    await redis.zadd(broker.keys.delayed, {"odd": 1})
    letter = await redis.xadd(broker.keys.dead, {"data": message, "queue": stream})
    async with working(broker):
        assert (await (await task.kiq(1)).wait_result(timeout=HANG)).return_value == 1
        with pytest.raises(DeadLetterError, match="is no queue's key"):
            await broker.dead_letters.retry(str(letter))
    assert await redis.exists(ANOTHER) == 0
    assert await redis.xlen(broker.keys.dead) == 1
    assert await redis.exists(f"{broker.keys.queue_prefix}a:returned") == 0


async def test_what_is_announced_falsely_harms_nobody_else_who_waits(broker: StreamBroker, redis: Redis) -> None:
    task = echo_of(broker)
    sent = [await task.kiq(number) for number in range(3)]
    waiting = [asyncio.create_task(one.wait_result(timeout=HANG)) for one in sent]

    async def is_heard() -> bool:
        return bool(await redis.publish(broker.keys.result(sent[0].task_id), b"\xff no result"))

    await eventually(is_heard)
    with pytest.raises(UnreadableResultError, match="it is no JSON"):
        await waiting[0]
    for channel in ("", "nobody", "\n"):
        await redis.publish(broker.keys.result(channel), b"{}")
    async with working(broker):
        assert [(await one).return_value for one in waiting[1:]] == [1, 2]
        assert (await sent[0].wait_result(timeout=HANG)).return_value == 0


@pytest.mark.parametrize("key", ["cancelled", "misfits", "index"])
async def test_a_queue_is_read_whatever_lies_where_misfits_are_looked_for(
    broker: StreamBroker, redis: Redis, key: str
) -> None:
    task, keys = echo_of(broker), broker.keys
    foreign = {"cancelled": keys.cancelled, "misfits": keys.misfits("default"), "index": keys.misfit_index}[key]
    async with working(broker):
        for number in range(20):
            if key != "index":
                await redis.xadd(keys.misfit_index, {"queue": "default", "name": "echo", "since": number})
        await redis.set(foreign, "foreign")
        # Longer than it takes until the index is looked at.
        for _ in range(6):
            sent = [await task.kiq(number) for number in range(20)]
            for number, one in enumerate(sent):
                assert (await one.wait_result(timeout=HANG)).return_value == number
            await asyncio.sleep(0.1)
