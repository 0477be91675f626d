"""A `StreamBroker` to which nobody has added a middleware does what the options of `register_task` say."""

import math
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import pytest
from redis.asyncio import Redis
from taskiq import SimpleRetryMiddleware
from taskiq.kicker import AsyncKicker
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import QUICK, Brokers, entries_of, letters_of, working

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.retries import RetryMiddleware
from kiqstart.tasks.errors import InvalidTaskArgumentsError
from kiqstart.tasks.hooks import hooks_of
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.results.errors import UnserializableResultError


@pytest.fixture
async def plain(brokers: Brokers) -> AsyncGenerator[StreamBroker]:
    made = StreamBroker(brokers.url, queue_name=brokers.queue_name, options=QUICK)
    yield made
    await made.shutdown()


async def test_it_retries_keeps_keys_unique_and_checks_arguments(plain: StreamBroker, redis: Redis) -> None:
    runs: list[int] = []

    async def fail(number: int) -> None:
        runs.append(number)
        raise LookupError

    task = register_task(plain, fail, name="fail", max_retries=2, retry_delay=0, unique="fail:{number}")
    with pytest.raises(InvalidTaskArgumentsError, match="number"):
        await task.kiq("seven")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    first = await task.kiq(7)
    assert (await task.kiq(7)).task_id == first.task_id
    async with working(plain):
        assert isinstance((await first.wait_result(timeout=HANG)).error, LookupError)
    assert runs == [7, 7, 7]
    assert [letter["reason"] for letter in await letters_of(redis, plain)] == ["retries-exhausted"]


async def test_it_leaves_retries_to_a_middleware_that_somebody_adds_later(plain: StreamBroker) -> None:
    async def nothing() -> None: ...

    register_task(plain, nothing, name="nothing", max_retries=1)
    assert RetryMiddleware in {type(getattr(hook, "__self__", None)) for hook in hooks_of(plain).on_error}
    plain.add_middlewares(SimpleRetryMiddleware())
    kinds: set[type] = {type(getattr(hook, "__self__", None)) for hook in hooks_of(plain).on_error}
    assert SimpleRetryMiddleware in kinds
    assert RetryMiddleware not in kinds


async def test_a_label_of_none_is_not_set(plain: StreamBroker, redis: Redis) -> None:
    async def echo(number: int) -> int:
        return number

    task = register_task(plain, echo, name="echo", queue="other")
    labels = dict.fromkeys(["unique", "queue_name", "delay", "due", "timeout", "max_retries", "ack_type", "mine"])
    await task.kicker().with_labels(**labels).kiq(1)
    await task.kiq_many([])
    kicker: AsyncKicker[Any, Any] = AsyncKicker("echo", plain, dict.fromkeys(labels))
    await kicker.kiq(2)
    for _, fields in await entries_of(redis, plain.keys.stream("default")):
        message = plain.formatter.loads(fields["data"].encode())
        assert not message.labels.keys() & labels.keys()
        assert set(fields) <= {"data"}
    async with working(plain):
        assert (await (await task.kicker().with_labels(**labels).kiq(3)).wait_result(timeout=HANG)).return_value == 3


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


LONG = 10**4300
VALUES: list[Any] = [LONG, -LONG, [1, {"a": LONG}], {LONG: 1}, "9" * 5000, LONG - 1, 1.7e308, -1e308 * 10, math.nan]
DEEP_AND_TEXTS: list[Any] = [nested(depth) for depth in (100, 254, 255, 900, 100_000)] + [
    "\udc80",
    ["\ud800"],
    {"\udfff": 1},
    "x" * 10_000,
]


async def test_what_json_cannot_hold_is_refused_by_name_and_everything_else_arrives(
    plain: StreamBroker, redis: Redis
) -> None:
    async def take(value: Any) -> None: ...  # noqa: ANN401

    async def give(number: int) -> Any:  # noqa: ANN401
        return [*VALUES, *DEEP_AND_TEXTS][number]

    async def fail(number: int) -> None:
        raise ValueError([*VALUES, *DEEP_AND_TEXTS][number])

    takes, gives = register_task(plain, take, name="take"), register_task(plain, give, name="give")
    fails = register_task(plain, fail, name="fail")
    async with working(plain):
        for number, value in enumerate([*VALUES, *DEEP_AND_TEXTS]):
            with suppress(InvalidTaskArgumentsError):
                assert not (await (await takes.kiq(value)).wait_result(timeout=HANG)).is_err
            result = await (await gives.kiq(number)).wait_result(timeout=HANG)
            assert isinstance(result.error, UnserializableResultError) or repr(result.return_value) == repr(value)
            assert type((await (await fails.kiq(number)).wait_result(timeout=HANG)).error) is ValueError
    assert await letters_of(redis, plain) == []
