"""Many calls at once, on a broker that takes messages one by one."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextvars import ContextVar
from typing import Any, cast

import pytest
import pytest_asyncio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import BaseModel, Field
from taskiq import BrokerMessage, TaskiqMessage, TaskiqMiddleware
from taskiq.middlewares.opentelemetry_middleware import OpenTelemetryMiddleware
from tests.deadlines import HANG

from kiqstart.broker.in_memory import DelayingInMemoryBroker
from kiqstart.tasks.arguments import ArgumentsMiddleware
from kiqstart.tasks.bulk import BulkSendFailedError, Call
from kiqstart.tasks.errors import InvalidTaskArgumentsError
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.task import Task

Double = Task[[int], Any]


class RecordingBroker(DelayingInMemoryBroker):
    """Notes what is sent, and refuses the message whose place is named, once."""

    def __init__(self, *, refused: int = -1) -> None:
        super().__init__()
        self.sent: list[BrokerMessage] = []
        self._refused = refused

    async def kick(self, message: BrokerMessage) -> None:
        # As long as a round trip: meanwhile the next messages are made.
        await asyncio.sleep(0)
        if len(self.sent) == self._refused:
            self._refused = -1
            raise OSError("no room")
        self.sent.append(message)
        await super().kick(message)

    @property
    def arguments(self) -> list[object]:
        """The first argument of each message."""
        return [self.formatter.loads(one.message).args[0] for one in self.sent]


@pytest_asyncio.fixture
async def broker() -> AsyncGenerator[RecordingBroker]:
    broker = RecordingBroker()
    broker.add_middlewares(ArgumentsMiddleware())
    yield broker
    await broker.shutdown()


async def double(number: int) -> int:
    return number * 2


@pytest.fixture
def task(broker: RecordingBroker) -> Double:
    return register_task(broker, double, name="double")


def wrong(number: object) -> Call[...]:
    """A call that no type checker lets pass."""
    return Call((number,), {})


async def test_each_call_is_sent_in_its_turn_and_its_task_has_its_place(task: Double, broker: RecordingBroker) -> None:
    sent = await task.kiq_many(task.call(number) for number in range(7))
    assert broker.arguments == list(range(7))
    assert [one.task_id for one in sent] == [one.task_id for one in broker.sent]
    assert len({one.task_id for one in sent}) == 7
    results = [await one.wait_result(check_interval=0.01, timeout=HANG) for one in sent]
    assert [result.return_value for result in results] == [0, 2, 4, 6, 8, 10, 12]


async def test_no_calls_are_no_tasks(task: Double, broker: RecordingBroker) -> None:
    assert await task.kiq_many([]) == []
    assert not broker.sent


async def test_a_task_id_of_ones_own_is_refused(task: Double, broker: RecordingBroker) -> None:
    with pytest.raises(ValueError, match="they cannot share a task id"):
        await task.kicker().with_task_id("mine").kiq_many([task.call(1)])
    assert not broker.sent


def calls_before(third: object, task: Double) -> Generator[Call[...]]:
    """Two calls, then a third one, which is raised where it is an error; and one that is never made."""
    yield task.call(0)
    yield task.call(1)
    if isinstance(third, Exception):
        raise third
    yield cast("Call[...]", third)
    raise AssertionError("it goes on")


@pytest.mark.parametrize(
    ("third", "reason"),
    [
        (wrong("three"), "double: argument number: Input should be a valid integer"),
        (wrong(object()), "double: argument number: Input should be a valid integer"),
        (Call((), {}), "double: missing a required argument: 'number'"),
        (2, "kiq_many takes what Task.call gives, not 2"),
        (LookupError("no more users"), "no more users"),
    ],
)
async def test_what_comes_before_a_call_that_cannot_be_made_is_sent_and_nothing_after_it(
    task: Double, broker: RecordingBroker, third: object, reason: str
) -> None:
    with pytest.raises(BulkSendFailedError) as caught:
        await task.kiq_many(calls_before(third, task))
    error = caught.value
    assert str(error).startswith(f"call 3: {reason}")
    assert str(error).endswith("(2 calls were sent)")
    assert "\n" not in str(error)
    assert (error.number, error.sent, broker.arguments) == (3, 2, [0, 1])
    assert [one.task_id for one in error.tasks] == [one.task_id for one in broker.sent]


async def test_the_error_behind_it_is_the_cause(task: Double) -> None:
    with pytest.raises(BulkSendFailedError) as caught:
        await task.kiq_many([wrong("x")])
    assert isinstance(caught.value.__cause__, InvalidTaskArgumentsError)


async def test_after_a_message_that_the_broker_refuses_none_is_sent() -> None:
    broker = RecordingBroker(refused=2)
    task = register_task(broker, double, name="double")
    with pytest.raises(BulkSendFailedError) as caught:
        await task.kiq_many(task.call(number) for number in range(5000))
    assert str(caught.value) == "call 3: no room (2 calls were sent)"
    assert [one is not None for one in caught.value.tasks] == [True, True, False]
    assert broker.arguments == [0, 1]


class Noting(TaskiqMiddleware):
    """Marks what is sent, and notes what it is told of; fails where it is told of the number it does not like."""

    def __init__(self, disliked: int | None = None) -> None:
        super().__init__()
        self.told: list[tuple[object, object]] = []
        self._disliked = disliked
        self._context: ContextVar[object] = ContextVar("context", default=None)

    async def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        self._context.set(message.args[0])
        message.labels["marked"] = "yes"
        return message.model_copy(update={"args": [message.args[0] + 100]})

    def post_send(self, message: TaskiqMessage) -> None:
        self.told.append((self._context.get(), message.args[0]))
        if message.args[0] == self._disliked:
            raise RuntimeError("not this one")


async def test_middlewares_change_each_message_and_are_told_of_each_in_its_own_context(
    task: Double, broker: RecordingBroker
) -> None:
    noting = Noting()
    broker.add_middlewares(noting)
    await task.kiq_many(task.call(number) for number in range(5))
    assert broker.arguments == [100, 101, 102, 103, 104]
    assert {one.labels["marked"] for one in broker.sent} == {"yes"}
    assert noting.told == [(number, number + 100) for number in range(5)]


async def test_a_middleware_that_fails_after_a_send_hides_no_task(task: Double, broker: RecordingBroker) -> None:
    noting = Noting(disliked=101)
    broker.add_middlewares(noting)
    with pytest.raises(BulkSendFailedError) as caught:
        await task.kiq_many(task.call(number) for number in range(3))
    assert str(caught.value) == "call 2: not this one (3 calls were sent)"
    assert [one.task_id for one in caught.value.tasks] == [one.task_id for one in broker.sent]
    assert len(noting.told) == 3


async def test_each_sends_span_is_ended_and_belongs_to_the_callers(task: Double, broker: RecordingBroker) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    broker.add_middlewares(OpenTelemetryMiddleware(tracer_provider=provider))
    with provider.get_tracer("test").start_as_current_span("caller") as caller:
        await task.kiq_many(task.call(number) for number in range(3))
        assert trace.get_current_span() is caller
    sends = [span for span in exporter.get_finished_spans() if span.name == "send/double"]
    assert [span.parent and span.parent.span_id for span in sends] == [caller.get_span_context().span_id] * 3


class Point(BaseModel):
    x: int = Field(ge=0)


async def test_values_that_are_turned_into_json_arrive_as_with_single_calls(broker: RecordingBroker) -> None:
    async def look(point: Point, more: list[Point]) -> int:
        return point.x + sum(one.x for one in more)

    task = register_task(broker, look, name="look")
    [sent] = await task.kiq_many([task.call(Point(x=1), more=[Point(x=2), Point(x=3)])])
    assert (await sent.wait_result(check_interval=0.01, timeout=HANG)).return_value == 6


async def test_ids_are_those_of_the_brokers_generator(task: Double, broker: RecordingBroker) -> None:
    ids = iter(range(9))
    broker.with_id_generator(lambda: f"id-{next(ids)}")
    assert [one.task_id for one in await task.kiq_many([task.call(1), task.call(2)])] == ["id-0", "id-1"]
