import functools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, create_model
from taskiq import AsyncBroker, InMemoryBroker, TaskiqDepends

from kiqstart.tasks.call_shape import call_shape
from kiqstart.tasks.registration import register_task

ROOT = Path(__file__).parents[4]


class Line(BaseModel):
    count: int = Field(ge=1)


class Order(BaseModel):
    lines: list[Line]
    parent: "Order | None" = None


def broker() -> AsyncBroker:
    return InMemoryBroker()


async def ship(
    order: Order, note: Annotated[str, Field(max_length=9)] = "", used: AsyncBroker = TaskiqDepends(broker)
) -> None:
    del order, note, used


async def shorter(order: Order) -> None: ...


def registered(function: Callable[..., Any]) -> Callable[..., Any]:
    return register_task(InMemoryBroker(), function, name="ship").original_func


def taking(model: type[BaseModel]) -> Callable[..., Any]:
    async def take(order: model) -> None: ...  # type: ignore[valid-type]  # made here

    return registered(take)  # pyright: ignore[reportUnknownArgumentType]  # made here


def test_it_is_the_same_in_each_process_and_for_each_object() -> None:
    code = f"from {__name__} import *; print(call_shape(registered(ship)), call_shape(ship))"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    printed = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    assert printed.split() == [call_shape(registered(ship)), call_shape(ship)]
    assert call_shape(registered(ship)) == call_shape(registered(ship))


def test_what_takes_other_arguments_has_another_shape() -> None:
    shapes = {call_shape(registered(function)) for function in (ship, shorter, functools.partial(ship, note="x"))}
    assert len(shapes) == 3
    assert call_shape(ship) != call_shape(shorter)


@pytest.mark.parametrize(
    "other",
    [
        create_model("Order", number=(int, ...), note=(str, "")),
        create_model("Order", number=(str, ...)),
        create_model("Order", number=(int, Field(ge=1))),
        create_model("Order", __config__={"extra": "forbid"}, number=(int, ...)),
        create_model("Order", number=(int, Field(alias="no"))),
    ],
)
def test_models_are_looked_into(other: type[BaseModel]) -> None:
    same = [create_model("Order", number=(int, ...)) for _ in range(2)]
    assert call_shape(taking(same[0])) == call_shape(taking(same[1])) != call_shape(taking(other))


def test_whatever_an_annotation_raises_it_has_some_shape() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise ValueError("odd")

    def take(order: object) -> None: ...

    take.__annotations__["order"] = Odd()
    assert call_shape(take)
