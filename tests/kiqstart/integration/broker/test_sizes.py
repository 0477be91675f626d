"""How large messages and results may be, how many tasks a queue may hold, and what a worker has in memory."""

import asyncio
import gc
import json
from collections.abc import Callable, Coroutine
from typing import Any, Final

import pytest
from redis.asyncio import Redis
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, letters_of, working

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.delivery import Delivery
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.receiver.stream_receiver import StreamReceiver
from kiqstart.broker.sender import QueueFullError, SendFailedError
from kiqstart.observability.run_log import RUN_LOG
from kiqstart.tasks.bulk import BulkSendFailedError
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.results.errors import (
    ResultTooLargeError,
    TaskTooLargeError,
    UnreadableResultError,
)
from kiqstart.tasks.sizes import MIB
from kiqstart.tasks.task import Task
from kiqstart.testing import eventually

LIMIT: Final = 2000
SMALL: Final = StreamOptions(lease=1.0, message_bytes=LIMIT, result_bytes=LIMIT)
TOO_LONG: Final = "x" * LIMIT
# 20 times as large when it is decoded.
BRACKETS: Final[list[object]] = [[]] * 400
Echo = Task[[object], Coroutine[Any, Any, object]]


async def echo(value: object = None) -> object:
    return value


def echo_of(broker: StreamBroker, **options: Any) -> Echo:  # noqa: ANN401  # those of the task
    return register_task(broker, echo, name="echo", **options)


def send_at_once(task: Echo, value: object) -> Coroutine[Any, Any, object]:
    return task.kiq(value)


def send_delayed(task: Echo, value: object) -> Coroutine[Any, Any, object]:
    return task.kicker().after(5).kiq(value)


def send_unique(task: Echo, value: object) -> Coroutine[Any, Any, object]:
    return task.kicker().with_labels(unique="key").kiq(value)


def send_many(task: Echo, value: object) -> Coroutine[Any, Any, object]:
    return task.kiq_many([task.call(value)])


@pytest.mark.parametrize(("value", "size"), [(TOO_LONG, " bytes"), (BRACKETS, " bytes when it is decoded")])
@pytest.mark.parametrize(
    "send",
    [send_at_once, send_delayed, send_unique, send_many],
)
async def test_a_message_that_is_too_large_is_not_sent_and_its_error_names_the_limit(
    brokers: Brokers,
    redis: Redis,
    send: Callable[[Echo, object], Coroutine[Any, Any, object]],
    value: object,
    size: str,
) -> None:
    broker = brokers(options=SMALL)
    task = echo_of(broker)
    bad, *good = await asyncio.gather(send(task, value), *(task.kiq(1) for _ in range(3)), return_exceptions=True)
    assert isinstance(bad, SendFailedError | BulkSendFailedError)
    assert f"{size}, of which {LIMIT if size == ' bytes' else LIMIT * 16} are possible (TASKS_MESSAGE_BYTES" in str(bad)
    assert not any(isinstance(one, BaseException) for one in good)
    assert await redis.xlen(broker.keys.name) == 3
    assert not await redis.exists(broker.keys.delayed)


@pytest.mark.parametrize("value", [TOO_LONG * 5, BRACKETS * 4])
async def test_a_worker_decodes_nothing_that_is_too_large_and_both_its_callers_are_told(
    brokers: Brokers, redis: Redis, value: object
) -> None:
    generous, broker = brokers(), brokers(options=SMALL)
    task = echo_of(generous)
    echo_of(broker)
    large, beside = await task.kiq(value), await task.kiq("beside")
    async with working(broker):
        assert (await beside.wait_result(timeout=HANG)).return_value == "beside"
        error = (await large.wait_result(timeout=HANG)).error
    assert isinstance(error, TaskTooLargeError)
    assert "(TASKS_MESSAGE_BYTES" in str(error)
    [letter] = await letters_of(redis, broker)
    assert (letter["reason"], json.loads(letter["data"])["args"]) == ("too-large", [value])
    # With another limit, it can be run.
    await generous.dead_letters.retry((await generous.dead_letters.list())[0].id)
    generous = brokers()
    echo_of(generous)
    async with working(generous):
        assert (await large.wait_result(timeout=HANG)).return_value == value


async def test_what_is_too_large_and_no_message_is_a_dead_letter(brokers: Brokers, redis: Redis) -> None:
    broker = brokers(options=SMALL)
    task = echo_of(broker)
    await redis.xadd(broker.keys.name, {"data": "[" * 10_000})
    await redis.xadd(broker.keys.name, {"data": json.dumps({"task_id": "i" * 9000})})
    sent = await task.kiq(1)
    async with working(broker):
        assert (await sent.wait_result(timeout=HANG)).return_value == 1
        assert [letter["reason"] for letter in await letters_of(redis, broker)] == ["too-large"] * 2


async def test_results_have_a_limit_for_who_stores_and_for_who_reads_them(brokers: Brokers, redis: Redis) -> None:
    broker = brokers(options=SMALL)
    task = register_task(broker, write, name="write")
    async with working(broker):
        error = (await (await task.kiq(LIMIT)).wait_result(timeout=HANG)).error
        assert isinstance(error, ResultTooLargeError)
        assert f"of which {LIMIT} are possible (TASKS_RESULT_BYTES" in str(error)
    backend = broker.result_backend
    await redis.set(broker.keys.result("forged"), json.dumps({"return_value": [BRACKETS] * 10}))
    await redis.rpush(broker.keys.result("list"), "x")
    for task_id, reason in {"forged": "of which 2000 are possible", "list": "holds something else"}.items():
        with pytest.raises(UnreadableResultError, match=reason):
            await backend.get_result(task_id)


async def write(size: int) -> str:
    return "x" * size


async def test_a_full_queue_takes_no_more_until_a_task_has_ended(brokers: Brokers, redis: Redis) -> None:
    broker = brokers(options=StreamOptions(lease=1.0, queue_limit=3))
    task = echo_of(broker)
    full = "queue 'default' has 3 tasks, as many as TASKS_QUEUE_LIMIT"
    sent = await task.kicker().with_labels(unique="key").kiq(0)
    with pytest.raises(BulkSendFailedError, match=f"call 3: .*{full}") as caught:
        await task.kiq_many(task.call(number) for number in range(5))
    assert caught.value.sent == 2
    assert isinstance(caught.value.__cause__, QueueFullError)
    for labels in ({}, {"unique": "other"}):
        with pytest.raises(QueueFullError, match=full):
            await task.kicker().with_labels(**labels).kiq(1)
    assert (await task.kicker().with_labels(unique="key").kiq(1)).task_id == sent.task_id
    assert await redis.hlen(broker.keys.uniques) == 1
    # Each queue has its own limit, and so have those that are delayed.
    await task.kicker().with_labels(queue_name="other").kiq(1)
    for _ in range(3):
        await task.kicker().after(0.5).kiq(2)
    with pytest.raises(QueueFullError, match="3 tasks are delayed, as many as TASKS_QUEUE_LIMIT"):
        await task.kicker().after(60).kiq(1)
    async with working(broker):
        await sent.wait_result(timeout=HANG)
        assert (await (await task.kiq("again")).wait_result(timeout=HANG)).return_value == "again"


async def test_what_is_due_and_what_is_tried_again_finds_its_queue_never_full(brokers: Brokers) -> None:
    broker = brokers(options=StreamOptions(lease=1.0, queue_limit=1))
    tries = 0

    async def fail_once() -> int:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise LookupError
        return tries

    task = register_task(broker, fail_once, name="fail once", max_retries=1, retry_delay=0.1)
    delayed = await task.kicker().after(0.2).kiq()
    await echo_of(broker, queue="elsewhere").kiq(1)
    async with working(broker):
        assert (await delayed.wait_result(timeout=HANG)).return_value == 2


async def test_a_worker_reads_no_more_than_it_has_memory_for(brokers: Brokers) -> None:
    limit = 4 * MIB
    worker, caller = brokers(options=StreamOptions(lease=1.0, in_flight_bytes=limit)), brokers()
    running, most = 0, 0
    may_end = asyncio.Event()

    async def hold(text: str) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await may_end.wait()
        running -= 1
        return len(text)

    register_task(worker, hold, name="hold")
    task = register_task(caller, hold, name="hold")
    # Each takes twice its size, and so does the one that is larger than the limit.
    sent = [await task.kiq(text="x" * size) for size in [300_000] * 20 + [5_000_000] + [10] * 50]
    async with working(worker) as receiver:
        await eventually(lambda: is_full(receiver))
        weight = in_flight(receiver)
        may_end.set()
        assert [(await one.wait_result(timeout=HANG)).return_value for one in sent][-51:-49] == [5_000_000, 10]
    assert weight < 2 * limit
    assert most < 20


async def is_full(receiver: StreamReceiver) -> bool:
    return receiver._consumer is not None and receiver._consumer.is_full


def in_flight(receiver: StreamReceiver) -> int:
    assert receiver._consumer is not None
    return receiver._consumer.in_flight.weight


async def test_what_has_run_is_freed_without_a_look_for_cycles(
    brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pytest keeps all that is logged, with tracebacks.
    monkeypatch.setattr(RUN_LOG, "disabled", True)
    broker = brokers()

    async def fail(text: str) -> None:
        raise LookupError(text)

    good = echo_of(broker)
    bad = register_task(broker, fail, name="fail")
    gc.collect()
    gc.disable()
    try:
        async with working(broker):
            sent = [await task.kiq(f"{number}") for task in (good, bad) for number in range(20)]
            for one in sent:
                await one.wait_result(timeout=HANG)
            await eventually(lambda: are_few_alive(broker))
    finally:
        gc.enable()


async def are_few_alive(broker: StreamBroker) -> bool:
    # What other tests leave may raise where it is asked for its class, and pytest keeps those that have failed.
    alive = [one for one in gc.get_objects() if type(one) is Delivery]
    return sum(one.stream == broker.keys.name for one in alive) <= 2
