"""Many calls of a task at once, through Redis."""

import asyncio
import tracemalloc
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from redis.asyncio import Redis
from taskiq import TaskiqMessage
from taskiq.abc.serializer import TaskiqSerializer
from taskiq.formatters.proxy_formatter import ProxyFormatter
from taskiq.serializers import JSONSerializer
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, working
from tests.kiqstart.integration.broker.wire import Wire

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.sender import _SEND_PLAIN, SendFailedError
from kiqstart.tasks.bulk import BulkSendFailedError, Call
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.task import Task
from kiqstart.testing.queues import waiting_messages

MEBIBYTE = 1024 * 1024

Double = Task[[int], Any]
Echo = Task[[Any], Any]


async def double(number: int) -> int:
    return number * 2


async def echo(value: Any) -> Any:  # noqa: ANN401  # whatever is sent
    return value


@pytest.fixture(params=[True, False])
def any_broker(request: pytest.FixtureRequest, brokers: Brokers, wire: Wire) -> StreamBroker:
    """A broker with middlewares that see each message, and one without; through the wire."""
    broker = brokers(url=wire.url)
    if not request.param:
        del broker.middlewares[1:]
    return broker


@pytest.fixture
def plain(brokers: Brokers, wire: Wire) -> StreamBroker:
    """A broker without middlewares that see what is sent, through the wire."""
    broker = brokers(url=wire.url)
    del broker.middlewares[1:]
    return broker


async def messages(redis_url: str, broker: StreamBroker, queue: str = "default") -> list[TaskiqMessage]:
    return await waiting_messages(redis_url, broker.keys.stream(queue))


async def test_calls_are_run_in_their_order_and_each_task_has_its_calls_result(
    any_broker: StreamBroker, redis_url: str
) -> None:
    task = register_task(any_broker, double, name="double")
    sent = await task.kiq_many(task.call(number) for number in range(1200))
    waiting = await messages(redis_url, any_broker)
    assert [message.args for message in waiting] == [[number] for number in range(1200)]
    assert [message.task_id for message in waiting] == [one.task_id for one in sent]
    assert len({one.task_id for one in sent}) == 1200
    async with working(any_broker):
        results = await asyncio.gather(*(one.wait_result(timeout=HANG) for one in sent))
    assert [result.return_value for result in results] == [number * 2 for number in range(1200)]


async def test_twenty_thousand_calls_take_forty_round_trips(plain: StreamBroker, wire: Wire, redis: Redis) -> None:
    task = register_task(plain, double, name="double")
    await task.kiq(number=-1)
    wire.forget()
    sent = await task.kiq_many(task.call(number) for number in range(20_000))
    assert wire.count(_SEND_PLAIN._sha) == 40
    assert len(sent) == await redis.xlen(plain.keys.stream("default")) - 1 == 20_000


async def test_large_calls_are_neither_gathered_in_memory_nor_sent_in_one_step(brokers: Brokers, redis: Redis) -> None:
    broker = brokers()
    task = register_task(broker, echo, name="echo")
    await task.kiq(value=None)
    tracemalloc.start()
    try:
        await task.kiq_many(task.call(f"{number:d}" * 50_000) for number in range(1000, 2000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # They are 200 MB.
    assert peak < 40 * MEBIBYTE
    assert await redis.xlen(broker.keys.stream("default")) == 1001


async def test_options_of_the_kicker_hold_for_all(broker: StreamBroker, redis: Redis, redis_url: str) -> None:
    task = register_task(broker, double, name="double")
    calls = [task.call(1), task.call(2)]
    await task.kicker().with_labels(queue_name="low", priority=3).kiq_many(calls)
    low = await messages(redis_url, broker, "low")
    assert [(message.args, message.labels["priority"]) for message in low] == [([1], "3"), ([2], "3")]
    later = await task.kicker().after(60).kiq_many(calls)
    tomorrow = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    at = await task.kicker().at(tomorrow).kiq_many(calls)
    found = await redis.zrange(broker.keys.delayed, 0, -1, withscores=True)
    delayed = cast("list[tuple[str, float]]", found)
    assert {name for name, _ in delayed} == {one.task_id for one in (*later, *at)}
    assert [score for _, score in delayed][2:] == [tomorrow.timestamp() * 1000] * 2
    assert not await messages(redis_url, broker)


async def test_where_a_key_is_held_the_holder_is_in_the_calls_place(broker: StreamBroker, redis_url: str) -> None:
    task = register_task(broker, double, name="double", unique="double:{number}")
    holder = await task.kiq(2)
    sent = await task.kiq_many(task.call(number) for number in (1, 2, 3, 1))
    assert sent[1].task_id == holder.task_id
    assert sent[0].task_id == sent[3].task_id
    assert len({one.task_id for one in sent}) == 3
    assert [message.args for message in await messages(redis_url, broker)] == [[2], [1], [3]]


def good_ones_and_a_bad_one(task: Echo) -> Generator[Call[...]]:
    for number in range(1002):
        yield task.call(number)
    yield task.call(object())
    raise AssertionError("nobody asks for more")


async def test_what_comes_before_a_value_that_is_no_json_is_sent_and_nothing_after_it(
    any_broker: StreamBroker, redis_url: str
) -> None:
    task = register_task(any_broker, echo, name="echo")
    with pytest.raises(BulkSendFailedError) as caught:
        await task.kiq_many(good_ones_and_a_bad_one(task))
    error = caught.value
    assert str(error).startswith("call 1003: echo: argument number 1 cannot be sent as JSON: Unable to ")
    assert str(error).endswith("(1002 calls were sent)")
    waiting = await messages(redis_url, any_broker)
    assert [message.args for message in waiting] == [[number] for number in range(1002)]
    assert [one.task_id for one in error.tasks] == [message.task_id for message in waiting]


async def test_a_queue_that_redis_refuses_fails_the_calls_with_its_reason(broker: StreamBroker, redis: Redis) -> None:
    await redis.set(broker.keys.stream("low"), "something else")
    task = register_task(broker, double, name="double")
    with pytest.raises(BulkSendFailedError) as caught:
        await task.kicker().with_labels(queue_name="low").kiq_many(task.call(number) for number in range(1200))
    error = caught.value
    assert (error.number, error.sent, set(error.tasks)) == (1, 0, {None})
    assert "WRONGTYPE" in str(error)
    assert isinstance(error.__cause__, SendFailedError)


async def test_a_delay_that_is_no_number_fails_the_calls(broker: StreamBroker) -> None:
    task = register_task(broker, double, name="double")
    with pytest.raises(BulkSendFailedError, match=r"call 1: the label delay must be a number of seconds, not 'soon'"):
        await task.kicker().with_labels(delay="soon").kiq_many([task.call(1)])


async def test_a_redis_that_is_away_until_the_deadline_fails_the_calls_with_one_clear_line(brokers: Brokers) -> None:
    away = brokers(url="redis://127.0.0.1:1/0", options=StreamOptions(send_deadline=0.2))
    task = register_task(away, double, name="double")
    with pytest.raises(BulkSendFailedError) as caught:
        await task.kiq_many(task.call(number) for number in range(1200))
    error = caught.value
    assert (error.number, error.sent) == (1, 0)
    assert "was not sent to Redis at 127.0.0.1:1: Error " in str(error)
    assert str(error).endswith("(tried for 0.2 s) (0 calls were sent)")
    assert "\n" not in str(error)


async def test_calls_whose_answer_is_lost_are_sent_again_and_are_there_once(
    any_broker: StreamBroker, wire: Wire, redis_url: str
) -> None:
    task = register_task(any_broker, double, name="double")
    await task.kiq(-1)
    wire.lose_answer_to("EVALSHA")
    sent = await task.kiq_many(task.call(number) for number in range(700))
    assert wire.lost_answers == 1
    assert [message.task_id for message in await messages(redis_url, any_broker)][1:] == [one.task_id for one in sent]


class Reversed(TaskiqSerializer):
    """JSON, from its end to its beginning."""

    def dumpb(self, value: Any) -> bytes:  # noqa: ANN401  # taskiq's
        return JSONSerializer().dumpb(value)[::-1]

    def loadb(self, value: bytes) -> Any:  # noqa: ANN401  # taskiq's
        return JSONSerializer().loadb(value[::-1])


@pytest.mark.parametrize("is_formatter", [True, False])
async def test_a_formatter_or_serializer_of_ones_own_is_used(
    plain: StreamBroker, redis: Redis, *, is_formatter: bool
) -> None:
    plain.with_serializer(Reversed())
    if is_formatter:
        plain.with_formatter(ProxyFormatter(plain))
    task = register_task(plain, double, name="double")
    sent = await task.kiq_many([task.call(1), task.call(2)])
    for _, fields in cast("list[tuple[str, dict[str, str]]]", await redis.xrange(plain.keys.stream("default"))):
        assert fields["data"].startswith("}")
    async with working(plain):
        assert [(await one.wait_result(timeout=HANG)).return_value for one in sent] == [2, 4]


async def test_what_only_taskiqs_own_way_can_write_is_written_so(plain: StreamBroker) -> None:
    plain.with_serializer(JSONSerializer())
    task = register_task(plain, echo, name="echo")
    sent = await task.kiq_many([task.call("a"), task.call("\ud800"), task.call("b")])
    async with working(plain):
        results = [await one.wait_result(timeout=HANG) for one in sent]
    assert [result.return_value for result in results[::2]] == ["a", "b"]
    assert results[1].is_err
