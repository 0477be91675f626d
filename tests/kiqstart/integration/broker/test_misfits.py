"""Callers and workers of different versions: a rolling deploy."""

import asyncio
import functools
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from redis.asyncio import Redis
from taskiq import SimpleRetryMiddleware
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, letters_of, working

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.cancellation import CancelOutcome
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.stats import count_tasks
from kiqstart.tasks.errors import InvalidTaskArgumentsError
from kiqstart.tasks.registration import register_task
from kiqstart.testing import eventually

IMPATIENT = StreamOptions(lease=1.0, misfit_grace=0.3)


def old() -> Callable[..., Any]:
    async def greet(name: str) -> str:
        return f"hello {name}"

    return greet


def new() -> Callable[..., Any]:
    async def greet(name: str, title: str = "") -> str:
        return f"hello {title} {name}"

    return greet


# Registered tasks are typed by their function, and here they are called as another version would.
def registered(broker: StreamBroker, version: Callable[[], Callable[..., Any]], name: str = "greet") -> Any:  # noqa: ANN401
    return register_task(broker, version(), name=name)


def plainly_registered(broker: StreamBroker, version: Callable[[], Callable[..., Any]], name: str = "greet") -> Any:  # noqa: ANN401
    return broker.register_task(version(), task_name=name)


def decorated(broker: StreamBroker, version: Callable[[], Callable[..., Any]], name: str = "greet") -> Any:  # noqa: ANN401
    function = version()

    @functools.wraps(function)
    async def logged(*args: str, **kwargs: str) -> Any:  # noqa: ANN401
        return await function(*args, **kwargs)

    return broker.register_task(logged, task_name=name)


@pytest.mark.parametrize("register", [registered, plainly_registered, decorated])
async def test_a_call_that_only_newer_workers_take_runs_on_one_of_them(
    brokers: Brokers, redis: Redis, caplog: pytest.LogCaptureFixture, register: Callable[..., Any]
) -> None:
    older, newer, sender = brokers(), brokers(), brokers()
    register(older, old)
    register(newer, new)
    task = register(sender, new)
    async with working(older):
        sent = [await task.kiq("Ada", title="Countess") for _ in range(5)]

        async def all_are_left() -> bool:
            return sum("is left to other workers" in message for message in caplog.messages) == 5

        await eventually(all_are_left)
    async with working(newer):
        results = [await one.wait_result(timeout=HANG) for one in sent]
    assert [result.return_value for result in results] == ["hello Countess Ada"] * 5
    assert await letters_of(redis, sender) == []
    # Said once for each, however often the older worker has met it.
    assert sum("is left to other workers" in message for message in caplog.messages) == 5
    assert not any(record.exc_info for record in caplog.records)


async def test_what_many_older_workers_leave_waits_for_the_only_newer_one_however_busy_that_is(
    brokers: Brokers, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    # The grace is two leases at least.
    options = StreamOptions(lease=1.0, misfit_grace=0.1)
    newer, sender = brokers(options=options), brokers()

    async def work(number: int, title: str = "") -> str:
        await asyncio.sleep(0.3)
        return f"{number}{title}"

    for broker in (newer, sender):
        register_task(broker, work, name="unknown")
        register_task(broker, work, name="greet")
    unknown, known = sender.find_task("unknown"), sender.find_task("greet")
    assert unknown is not None
    assert known is not None
    async with AsyncExitStack() as stack:
        for _ in range(3):
            older = brokers(options=options)
            registered(older, old)
            await stack.enter_async_context(working(older))
        await stack.enter_async_context(working(newer, max_async_tasks=1))
        sent = [await unknown.kiq(number) for number in range(6)]
        sent += [await known.kiq(number, title="!") for number in range(4)]
        results = [await one.wait_result(timeout=HANG) for one in sent]
        assert [one.return_value for one in results] == ["0", "1", "2", "3", "4", "5", "0!", "1!", "2!", "3!"]

        async def nothing_is_left() -> bool:
            return not await redis.exists(sender.keys.misfits_known) and not await redis.xlen(sender.keys.misfit_index)

        await eventually(nothing_is_left)
    assert await redis.xlen(sender.keys.misfits("default")) == await sender.dead_letters.count() == 0
    # Nobody takes again what it has left itself.
    left = [message for message in caplog.messages if "is left to other workers" in message]
    assert len(left) == len(set(left)) <= 10


async def test_what_was_left_is_counted_found_and_cancelled(brokers: Brokers, redis: Redis) -> None:
    older, sender = brokers(), brokers()
    task = register_task(sender, new(), name="greet", unique="greet:{name}")
    async with working(older):
        sent = await task.kiq("Ada")

        async def waits() -> bool:
            return await redis.xlen(sender.keys.misfits("default")) == 1

        await eventually(waits)
        (queue,) = (await count_tasks(sender, [])).queues
        assert (queue.waiting, queue.running) == (1, 0)
        assert await sender.cancel(sent.task_id) is CancelOutcome.WAITING
    assert await redis.xlen(sender.keys.misfits("default")) == await redis.xlen(sender.keys.misfit_index) == 0
    assert not await redis.exists(sender.keys.uniques, sender.keys.cancelled)


async def test_a_task_that_only_newer_workers_know_keeps_its_unique_key_until_it_runs_on_one_of_them(
    brokers: Brokers, redis: Redis
) -> None:
    older, newer, sender = brokers(), brokers(), brokers()
    register_task(newer, new(), name="greet", unique="greet:{name}")
    task = register_task(sender, new(), name="greet", unique="greet:{name}")
    async with working(older):
        first = await task.kiq("Ada")

        async def waits() -> bool:
            return await redis.xlen(sender.keys.misfits("default")) == 1

        await eventually(waits)
        assert (await task.kiq("Ada")).task_id == first.task_id
        async with working(newer):
            assert (await first.wait_result(timeout=HANG)).return_value == "hello  Ada"
    assert await redis.hlen(sender.keys.uniques) == 0


@pytest.mark.parametrize(
    ("register", "error"), [(registered, InvalidTaskArgumentsError), (plainly_registered, TypeError)]
)
async def test_a_call_that_nobody_takes_is_a_dead_letter_after_the_grace_and_no_retry_is_spent(
    brokers: Brokers, redis: Redis, register: Callable[..., Any], error: type[Exception]
) -> None:
    broker = brokers(options=IMPATIENT)
    broker.add_middlewares(SimpleRetryMiddleware(default_retry_count=5))
    task = register(broker, old)
    sender = brokers()
    call = register(sender, new).kicker().with_labels(retry_on_error=True, max_retries=5)
    async with working(broker):
        sent = await call.kiq("Ada", title="Countess")
        result = await sent.wait_result(timeout=HANG)
    assert error.__name__ in repr(result.error)
    (letter,) = await letters_of(redis, broker)
    assert letter["reason"] == "invalid-arguments"
    assert "unexpected keyword argument 'title'" in letter["detail"]
    message = broker.formatter.loads(letter["data"].encode())
    assert not {"_retries", "retries"} & message.labels.keys()
    assert not await redis.exists(broker.keys.delayed)
    assert not await redis.xlen(broker.keys.misfit_index)
    assert task.task_name == message.task_name


async def test_a_dead_letter_that_is_sent_again_has_its_grace_anew(
    brokers: Brokers, caplog: pytest.LogCaptureFixture
) -> None:
    broker = brokers(options=IMPATIENT)
    task = registered(brokers(), new)
    registered(broker, old)

    async def is_buried() -> bool:
        return await broker.dead_letters.count() == 1

    async with working(broker):
        await task.kiq("Ada", title="Countess")
        for times in (1, 2):
            await eventually(is_buried)
            # A letter that is buried at once is not left to others.
            assert sum("is left to other workers" in message for message in caplog.messages) == times
            (letter,) = await broker.dead_letters.list()
            await broker.dead_letters.retry(letter.id)


async def test_an_error_of_the_same_kind_out_of_the_function_itself_is_its_own(brokers: Brokers, redis: Redis) -> None:
    broker, runs = brokers(), list[str]()
    inner = registered(brokers(), old, name="inner")

    async def send_badly(number: int) -> None:
        runs.append("send")
        await inner.kiq(number, wrong=number)

    def call_badly(number: int) -> None:
        runs.append("call")
        call_badly(number, number)  # type: ignore[call-arg]  # the point

    async with working(broker):
        sending = await register_task(broker, send_badly, name="send").kiq(1)
        calling = await broker.register_task(call_badly, task_name="call").kiq(1)
        assert "InvalidTaskArgumentsError" in repr((await sending.wait_result(timeout=HANG)).error)
        assert isinstance((await calling.wait_result(timeout=HANG)).error, TypeError)
    assert sorted(runs) == ["call", "send"]
    assert await redis.zcard(broker.keys.delayed) == 0
