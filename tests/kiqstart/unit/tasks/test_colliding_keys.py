"""Dicts of which JSON would lose a part, as arguments, results and in schedules."""

import enum
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from taskiq import InMemoryBroker, TaskiqResult
from taskiq.serializers import JSONSerializer, ORJSONSerializer

from kiqstart.broker.receiver.pool_process import run_pickled, unpickled
from kiqstart.broker.results import decode_result, encode_result
from kiqstart.scheduler.definition import ScheduleDefinition
from kiqstart.scheduler.triggers import EPOCH, DateTrigger
from kiqstart.tasks.colliding_keys import CollidingKeysError
from kiqstart.tasks.errors import InvalidTaskArgumentsError
from kiqstart.tasks.formatting import JsonFormatter
from kiqstart.tasks.results.errors import UnserializableResultError
from kiqstart.tasks.task import Task


class Color(enum.Enum):
    RED = "red"


class Table(BaseModel):
    cells: dict[Any, int]


@dataclass
class Row:
    cells: dict[Any, int]


LOSING: list[Any] = [
    {1: 2, "1": 3},
    {True: 1, "true": 2},
    {None: 1, "None": 2},
    {1.5: 1, "1.5": 2},
    {Color.RED: 1, "red": 2},
    {date(2026, 1, 1): 1, "2026-01-01": 2},
    [{"rows": ({1: 1, "1": 2},)}],
    Table(cells={1: 1, "1": 2}),
    [Table(cells={1: 1, "1": 2})],
    Row({1: 1, "1": 2}),
]
# Few keys, so that they meet.
KEYS = st.sampled_from([1, "1", 2, "2", True, "true", None, "None", 1.5, "1.5", Color.RED, "red"])
VALUES = st.recursive(
    st.integers(0, 9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


async def take(table: Any) -> None: ...  # noqa: ANN401


def task_of(serializer: JSONSerializer | ORJSONSerializer) -> Task[..., Any]:
    broker = InMemoryBroker(await_inplace=True).with_serializer(serializer)
    broker.formatter, broker.decorator_class = JsonFormatter(broker), Task
    task = broker.register_task(take, task_name="take")
    assert isinstance(task, Task)
    return task


def result_of(value: object) -> TaskiqResult[Any]:
    return decode_result(
        encode_result("id", TaskiqResult(is_err=False, return_value=value, execution_time=0.1, labels={}))
    )


def entries(value: object) -> int:
    """How many entries all dicts have together."""
    if isinstance(value, dict):
        known = cast("dict[object, object]", value)
        return len(known) + sum(map(entries, known.values()))
    return sum(map(entries, cast("list[object]", value))) if isinstance(value, list) else 0


@pytest.mark.parametrize("serializer", [JSONSerializer(), ORJSONSerializer()], ids=["json", "orjson"])
@pytest.mark.parametrize("value", LOSING, ids=repr)
async def test_an_argument_of_which_json_loses_a_part_is_refused_by_name(
    value: object, serializer: JSONSerializer | ORJSONSerializer
) -> None:
    task = task_of(serializer)
    for call in (task.kiq(value), task.kiq_many([task.call(value)])):
        with pytest.raises(
            Exception, match=r"take: argument number 1 cannot be sent as JSON: the keys .* are one in JSON"
        ):
            await call
    with pytest.raises(InvalidTaskArgumentsError, match=r"^take: argument table cannot be sent as JSON: the keys "):
        await task.kiq(table=value)


@pytest.mark.parametrize("value", LOSING, ids=repr)
def test_a_result_of_which_json_loses_a_part_is_that_error_with_its_place(value: object) -> None:
    error = result_of(value).error
    assert isinstance(error, UnserializableResultError)
    assert str(error).startswith(f"the task's result ({type(value).__name__}) cannot be sent as JSON at return_value")
    assert str(error).endswith(" are one in JSON")


def give() -> object:
    return {1: 2, "1": 3}, Unpicklable()


class Unpicklable(BaseModel):
    number: int = 1

    def __reduce__(self) -> Any:  # noqa: ANN401
        raise TypeError("not me")


def test_a_result_that_leaves_its_process_as_json_loses_nothing_either() -> None:
    with pytest.raises(UnserializableResultError, match="are one in JSON"):
        unpickled(run_pickled(0, give, (), {}))


def test_a_schedule_of_whose_arguments_json_loses_a_part_is_refused() -> None:
    definition = ScheduleDefinition(name="one", task="take", args=({1: 2, "1": 3},), timing=DateTrigger(at=EPOCH))
    with pytest.raises(ValueError, match=r"^the keys 1 and '1' are one in JSON$"):
        definition.dump()


@given(value=VALUES)
async def test_whatever_is_not_refused_arrives_whole(value: object) -> None:
    result = result_of(value)
    assert entries(result.return_value) == entries(value) or "are one in JSON" in str(result.error)
    message = task_of(JSONSerializer()).kicker()._prepare_message(value)
    formatter = JsonFormatter(InMemoryBroker())
    with suppress(CollidingKeysError):
        arrived = formatter.loads(formatter.dumps(message).message)
        assert entries(arrived.args) == entries(value)
