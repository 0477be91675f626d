"""A `StreamBroker` to which nobody has added a middleware does what the options of `register_task` say."""

from collections.abc import AsyncGenerator

import pytest
from redis.asyncio import Redis
from taskiq import SimpleRetryMiddleware
from taskiq.kicker import AsyncKicker
from tests.integration.infrastructure.taskiq.streams.brokers import QUICK, Brokers, letters_of, working

from kiqstart.infrastructure.taskiq.errors import InvalidTaskArgumentsError
from kiqstart.infrastructure.taskiq.hooks import hooks_of
from kiqstart.infrastructure.taskiq.registration import register_task
from kiqstart.infrastructure.taskiq.retries import RetryMiddleware
from kiqstart.infrastructure.taskiq.streams.broker import StreamBroker


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
        await task.kiq("seven")  # type: ignore[arg-type]
    first = await task.kiq(7)
    assert (await task.kiq(7)).task_id == first.task_id
    async with working(plain):
        assert isinstance((await first.wait_result(timeout=5)).error, LookupError)
    assert runs == [7, 7, 7]
    assert [letter["reason"] for letter in await letters_of(redis, plain)] == ["retries-exhausted"]


async def test_it_leaves_retries_to_a_middleware_that_somebody_adds_later(plain: StreamBroker) -> None:
    async def nothing() -> None: ...

    register_task(plain, nothing, name="nothing", max_retries=1)
    assert RetryMiddleware in {type(getattr(hook, "__self__", None)) for hook in hooks_of(plain).on_error}
    plain.add_middlewares(SimpleRetryMiddleware())
    kinds = {type(getattr(hook, "__self__", None)) for hook in hooks_of(plain).on_error}
    assert SimpleRetryMiddleware in kinds
    assert RetryMiddleware not in kinds


async def test_a_label_of_none_is_not_set(plain: StreamBroker, redis: Redis) -> None:
    async def echo(number: int) -> int:
        return number

    task = register_task(plain, echo, name="echo", queue="other")
    labels = dict.fromkeys(["unique", "queue_name", "delay", "due", "timeout", "max_retries", "ack_type", "mine"])
    await task.kicker().with_labels(**labels).kiq(1)
    await task.kiq_many([])
    await AsyncKicker("echo", plain, dict.fromkeys(labels)).kiq(2)
    for _, fields in await redis.xrange(plain.keys.stream("default")):
        message = plain.formatter.loads(fields["data"].encode())
        assert not message.labels.keys() & labels.keys()
        assert set(fields) <= {"data"}
    async with working(plain):
        assert (await (await task.kicker().with_labels(**labels).kiq(3)).wait_result(timeout=5)).return_value == 3
