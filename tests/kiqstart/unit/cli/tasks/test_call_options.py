from collections.abc import Callable
from datetime import date, timedelta
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

import pytest
from pydantic import BaseModel, Field
from taskiq import Context, TaskiqDepends
from typing_extensions import TypedDict, Unpack

from kiqstart.cli.tasks.call_options import HelpAsked, RunOptions, parse_call
from kiqstart.operations.call_options import CallError
from kiqstart.tasks.arguments import TaskArguments


class Color(Enum):
    RED = "red"


class Point(BaseModel):
    x: int


class Limits(TypedDict, total=False):
    row_limit: Annotated[int | None, Field(ge=1)]


async def many(
    number: int,
    text: str = "",
    ratio: float = 1.0,
    day: date | None = None,
    span: timedelta | None = None,
    uid: UUID | None = None,
    color: Color = Color.RED,
    point: Point | None = None,
    numbers: list[int] | None = None,
    anything: Any = None,  # noqa: ANN401  # a task may
    is_loud: bool = False,
) -> None: ...


async def several(first: int, /, *rest: int, context: Context = TaskiqDepends(), **options: Unpack[Limits]) -> None: ...


async def own(*, wait: bool = False, dry_run: bool = False) -> None: ...


def called(
    function: Callable[..., object], *words: str, options: RunOptions | None = None
) -> tuple[tuple[object, ...], dict[str, object], RunOptions]:
    return parse_call("a.task", TaskArguments(function), words, options or RunOptions())


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--text", "7"], "text", "7"),
        (["--text=--odd"], "text", "--odd"),
        (["--ratio", "1e-3"], "ratio", 0.001),
        (["--day", "2026-11-30"], "day", date(2026, 11, 30)),
        (["--day", "null"], "day", None),
        (["--span", "P2D"], "span", timedelta(days=2)),
        (["--uid", str(UUID(int=7))], "uid", UUID(int=7)),
        (["--color", "red"], "color", Color.RED),
        (["--point", '{"x": 3}'], "point", Point(x=3)),
        (["--numbers", "[1, 2]"], "numbers", [1, 2]),
        (["--anything", "7"], "anything", 7),
        (["--anything", "seven"], "anything", "seven"),
        (["--is-loud"], "is_loud", True),
        (["--no-is-loud"], "is_loud", False),
    ],
)
def test_values_have_the_types_that_the_task_declares(words: list[str], name: str, value: object) -> None:
    args, kwargs, _ = called(many, "--number", "5", *words)
    bound = TaskArguments(many).signature.bind(*args, **kwargs)
    assert bound.arguments == {"number": 5, name: value}


def test_what_is_left_out_is_left_to_the_task() -> None:
    assert called(many, "--number", "-5") == ((), {"number": -5}, RunOptions())


def test_arguments_of_every_kind_are_options() -> None:
    args, kwargs, _ = called(several, "--first", "1", "--rest", "2", "--rest", "3", "--row-limit", "9")
    assert (args, kwargs) == ((1, 2, 3), {"row_limit": 9})


@pytest.mark.parametrize(
    ("function", "words", "problem"),
    [
        (many, [], "the following arguments are required: --number"),
        (many, ["--number", "soon"], "--number 'soon': Input should be a valid integer"),
        (many, ["--number", "1", "--point", '{"x": "a"}'], "x: Input should be a valid integer"),
        (many, ["--number", "1", "--color", "blue"], "Input should be 'red'"),
        (many, ["--number", "1", "--nobody", "2"], "unrecognized arguments: --nobody 2"),
        (many, ["--num", "1"], "required: --number"),
        (several, ["--first", "1", "--rest", "x"], "--rest 'x': Input should be a valid integer"),
        (several, ["--first", "1", "--row-limit", "0"], "--row-limit '0': Input should be greater than or equal to 1"),
        (many, ["--number", "1", "--timeout", "soon"], "invalid float value: 'soon'"),
    ],
)
def test_what_the_task_does_not_take_is_one_line(
    function: Callable[..., object], words: list[str], problem: str
) -> None:
    with pytest.raises(CallError) as caught:
        called(function, *words)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_commands_own_options_may_stand_behind_the_name() -> None:
    *_, options = called(many, "--number", "1", "--wait", "--timeout", "3", "--dry-run", "--because", "so")
    assert options == RunOptions(wait=True, timeout=3.0, dry_run=True, reason="so")


def test_the_tasks_own_arguments_come_first() -> None:
    _, kwargs, options = called(own, "--wait", "--dry-run", options=RunOptions(timeout=2.0))
    assert (kwargs, options) == ({"wait": True, "dry_run": True}, RunOptions(timeout=2.0))


def test_help_says_what_the_task_takes() -> None:
    with pytest.raises(HelpAsked) as asked:
        called(many, "--help")
    assert "--is-loud, --no-is-loud" in str(asked.value)
    assert "day: datetime.date | None = None" in str(asked.value)
