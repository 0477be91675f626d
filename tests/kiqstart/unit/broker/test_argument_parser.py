"""Arguments get the types that taskiq would give them, whatever the function and the message are."""

import inspect
import uuid
from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import date
from typing import Any, Final, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from taskiq import TaskiqMessage
from taskiq.receiver.params_parser import parse_params

from kiqstart.broker.receiver.argument_parser import ArgumentParser


class Order(BaseModel):
    """A model among the arguments."""

    number: int


def plain(first: int, second: str = "") -> None: ...


def by_name(first: uuid.UUID, *, second: date | None = None, third: bool = False) -> None: ...


def models(first: Order, second: list[Order], /, third: "dict[str, int]") -> None: ...


def any_number(first: int, *second: int, third: float = 0.0, **fourth: int) -> None: ...


def numbers(first: float, *, second: float = 0.0, third: float = 0.0, **fourth: int) -> None: ...


FUNCTIONS: Final[tuple[Callable[..., None], ...]] = (plain, by_name, models, any_number, numbers)
NAMES: Final = ("first", "second", "third", "fourth")
VALUES: Final = st.sampled_from(
    [
        *(
            None,
            0,
            False,
            1,
            "",
            "1",
            "x",
            1.5,
            True,
            [],
            [{"number": "2"}],
            {"number": 3},
            {"number": "x"},
            {"a": "1"},
        ),
        *("2026-11-30", "not a date", "7b6f9b1e-2b57-4a8e-9a38-5a5a1a2f6f10"),
    ]
)


@settings(max_examples=300)
@given(
    function=st.sampled_from(FUNCTIONS),
    args=st.lists(VALUES, max_size=4),
    kwargs=st.dictionaries(st.sampled_from(NAMES), VALUES),
    untyped=st.sets(st.sampled_from(NAMES), max_size=2),
)
def test_arguments_get_the_types_that_taskiq_gives_them(
    function: Callable[..., None], args: list[Any], kwargs: Mapping[str, Any], untyped: set[str]
) -> None:
    signature = inspect.signature(function)
    hints = {name: hint for name, hint in get_type_hints(function).items() if name not in untyped}
    wanted = TaskiqMessage(task_id="1", task_name="work", labels={}, args=args, kwargs=dict(kwargs))
    got = deepcopy(wanted)
    parse_params(signature, hints, wanted)
    ArgumentParser(signature, hints).parse(got)
    assert described(got) == described(wanted)


def described(message: TaskiqMessage) -> list[tuple[str, object]]:
    return [(type(value).__name__, value) for value in (*message.args, *message.kwargs.values())]


def test_an_argument_that_cannot_have_its_type_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    message = TaskiqMessage(task_id="1", task_name="work", labels={}, args=["x"], kwargs={"second": 5})
    ArgumentParser(inspect.signature(plain), get_type_hints(plain)).parse(message)
    assert (message.args, message.kwargs) == (["x"], {"second": 5})
    assert [one.getMessage().partition(". ")[0] for one in caplog.records if one.levelname == "WARNING"] == [
        "Can't parse argument 0 for task work",
        "Can't parse argument second for task work",
    ]
