import inspect
import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest
from taskiq import AsyncBroker, Context, InMemoryBroker, TaskiqDepends
from tests.deadlines import HANG

from kiqstart.tasks.arguments import ArgumentsMiddleware
from kiqstart.tasks.errors import InvalidTaskArgumentsError, WiringError
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.task_options import OPTIONS


class Reports:
    """A class like a controller: its methods are the tasks."""

    async def build(self, day: datetime, owner: UUID, pages: int = 1) -> str:
        return f"{day:%Y-%m-%d} {type(day).__name__} {type(owner).__name__} {pages}"

    async def which(self, context: Context = TaskiqDepends()) -> str:
        return context.message.task_id

    async def total(self, *amounts: int, **named: int) -> int:
        return sum(amounts) + sum(named.values())


@pytest.fixture
def broker() -> AsyncBroker:
    return InMemoryBroker(await_inplace=True).with_middlewares(ArgumentsMiddleware())


OWNER = UUID("6a1c1f1e-5d0b-4b0e-9f53-0d6ac1d0a001")


async def test_json_arguments_reach_the_task_as_their_types(broker: AsyncBroker) -> None:
    build = register_task(broker, Reports().build, name="report.build")
    task = await build.kiq(datetime(2026, 10, 25, tzinfo=UTC), owner=OWNER)
    result = await task.wait_result(timeout=HANG)
    assert result.return_value == "2026-10-25 datetime UUID 1"


async def test_the_context_is_injected(broker: AsyncBroker) -> None:
    which = register_task(broker, Reports().which, name="report.which")
    task = await which.kiq()
    assert (await task.wait_result(timeout=HANG)).return_value == task.task_id


async def test_variadic_arguments_are_taken(broker: AsyncBroker) -> None:
    total = register_task(broker, Reports().total, name="report.total")
    task = await total.kiq(1, 2, extra=3)
    assert (await task.wait_result(timeout=HANG)).return_value == 6


@pytest.mark.parametrize(
    ("args", "kwargs", "problem"),
    [
        (("2026-10-25", OWNER, "many"), {}, "argument pages: Input should be a valid integer"),
        (("2026-10-25",), {}, "missing a required argument: 'owner'"),
        (("2026-10-25", OWNER), {"colour": "red"}, "unexpected keyword argument 'colour'"),
        (("no day", OWNER), {}, "argument day: Input should be a valid datetime"),
    ],
)
async def test_a_bad_call_is_refused_at_the_caller(
    broker: AsyncBroker, args: tuple[object, ...], kwargs: dict[str, object], problem: str
) -> None:
    register_task(broker, Reports().build, name="report.build")
    build = broker.find_task("report.build")
    assert build is not None
    with pytest.raises(InvalidTaskArgumentsError, match=problem) as refused:
        await build.kiq(*args, **kwargs)
    assert str(refused.value).startswith("report.build: ")
    assert "\n" not in str(refused.value)


async def test_a_bad_call_from_elsewhere_fails_the_task_without_running_it() -> None:
    broker = InMemoryBroker(await_inplace=True)  # a sender that checks nothing
    register_task(broker, Reports().total, name="report.total")
    total = broker.find_task("report.total")
    assert total is not None
    result = await (await total.kiq("one")).wait_result(timeout=HANG)
    assert isinstance(result.error, InvalidTaskArgumentsError)


class Colour(StrEnum):
    RED = "red"


async def test_options_become_labels(broker: AsyncBroker) -> None:
    task = register_task(
        broker,
        Reports().which,
        name=Colour.RED,
        max_retries=3,
        retry_delay=60,
        retry_on=(OSError,),
        acks_late=False,
        timeout=2.5,
        queue="slow",
    )
    assert task.task_name == "red"
    assert task.labels == {
        "max_retries": 3,
        "retry_delay": 60,
        "types_of_exceptions": (OSError,),
        "ack_type": "when_received",
        "timeout": 2.5,
        "queue_name": "slow",
        "retry_backoff": 1.0,
        "retry_max_delay": 86_400.0,
        "retry_jitter": 0.0,
    }


@pytest.mark.parametrize("options", [{"max_retries": -1}, {"retry_delay": -1}, {"timeout": 0}])
def test_an_option_out_of_range_names_the_file_and_the_task(broker: AsyncBroker, options: dict[str, int]) -> None:
    with pytest.raises(WiringError, match=r"test_registration\.py: task 'report\.which': max_retries"):
        register_task(broker, Reports().which, name="report.which", **options)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("options", [{"max_retries": True}, {"timeout": True}, {"timeout": False}])
def test_a_truth_value_is_no_number(broker: AsyncBroker, options: dict[str, Any]) -> None:
    with pytest.raises(WiringError, match=r"task 'report\.which': retries, delays and timeout must be finite numbers"):
        register_task(broker, Reports().which, name="report.which", **options)


@pytest.mark.parametrize(
    ("option", "value", "wanted"),
    [
        ("name", None, "write a name, as text"),
        ("name", "", "write a name, as text"),
        ("name", "n" * 8193, "a name is UTF-8 of at most 8192 bytes"),
        ("name", "\ud800", "a name is UTF-8 of at most 8192 bytes"),
        ("queue", "q" * 201, "a queue's name has 1 to 200 characters"),
        ("queue", 5, "a queue's name is text"),
        ("queue", b"low", "a queue's name is text"),
        ("max_retries", 1.5, "write a whole number"),
        *(
            ("retry_on", value, r"write exception classes, such as \(OSError, ValueError\)")
            for value in ("OSError", None, [OSError], (OSError, 5))
        ),
    ],
)
def test_an_option_of_a_wrong_type_stops_the_start(
    broker: AsyncBroker, option: str, value: object, wanted: str
) -> None:
    options: dict[str, Any] = {"name": "report", option: value}
    with pytest.raises(WiringError, match=rf"test_registration\.py: task '.*': {option}=.*: {wanted}$"):
        register_task(broker, Reports().total, **options)


def test_a_name_is_taken_once(broker: AsyncBroker) -> None:
    register_task(broker, Reports().which, name="report")
    with pytest.raises(WiringError, match=r"task 'report': the name is taken"):
        register_task(broker, Reports().total, name="report")


def test_a_parameter_that_cannot_travel_is_refused(broker: AsyncBroker) -> None:
    async def draw(canvas: Reports) -> None: ...

    with pytest.raises(WiringError, match="parameter canvas: its type"):
        register_task(broker, draw, name="draw")


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": float("nan")},
        {"retry_delay": float("inf")},
        {"retry_backoff": float("nan")},
        {"retry_jitter": "0.1"},
        {"max_retries": "3"},
        {"retry_delay": 1e306},
        {"retry_max_delay": 1e12},
        {"unique": 3},
    ],
)
def test_options_that_are_no_numbers_stop_the_start(broker: AsyncBroker, options: dict[str, Any]) -> None:
    with pytest.raises(WiringError, match=r"test_registration\.py: task 'work': ") as caught:
        register_task(broker, Reports().total, name="work", **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_retry": 3}, "max_retry is not an option here: did you mean `max_retries`?"),
        ({"time_out": 3}, "time_out is not an option here: did you mean `timeout`?"),
        ({"colour": "red"}, "colour is not an option here: labels of your own go into labels={'colour': …}"),
        (
            {"bind": True},
            "bind is not an option here: give the method a parameter `context: Context = TaskiqDepends()`",
        ),
        ({"autoretry_for": (OSError,)}, "autoretry_for is not an option here: write retry_on=(SomeError,)"),
        ({"default_retry_delay": 3}, "default_retry_delay is not an option here: write retry_delay"),
        ({"soft_time_limit": 3}, "soft_time_limit is not an option here: write timeout"),
        ({"rate_limit": "10/m"}, "rate_limit is not an option here: give the task a queue of its own"),
        ({"ignore_result": True}, "ignore_result is not an option here: leave it out"),
        ({"labels": {"max_retries": 3}}, "labels={'max_retries': …} would set an option: write max_retries=…"),
        ({"labels": {"queue_name": "a"}}, "labels={'queue_name': …} would set an option: write queue"),
    ],
)
def test_an_option_that_does_not_exist_says_what_to_write(
    broker: AsyncBroker, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(WiringError, match=rf"test_registration\.py: task 'work': {re.escape(problem)}"):
        register_task(broker, Reports().total, name="work", **options)


async def test_labels_of_ones_own_travel_with_the_message(broker: AsyncBroker) -> None:
    task = register_task(broker, Reports().which, name="work", labels={"tenant": "acme", "weight": 2})
    assert {name: task.labels[name] for name in ("tenant", "weight")} == {"tenant": "acme", "weight": 2}


def test_the_options_that_are_suggested_are_those_that_there_are() -> None:
    parameters = list(inspect.signature(register_task).parameters.values())
    assert tuple(one.name for one in parameters if one.kind is one.KEYWORD_ONLY) == OPTIONS
