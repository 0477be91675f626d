from dataclasses import dataclass

import pytest
from pydantic import BaseModel

from kiqstart.tasks.checked_type import checked_type


@dataclass
class Point:
    x: int
    y: int


class Metaclass(type):
    """Of classes that are all the same, and of which each is none."""

    def __eq__(cls, other: object) -> bool:
        return isinstance(other, Metaclass)

    def __hash__(cls) -> int:
        return 1


def test_a_class_is_read_once() -> None:
    assert checked_type(Point) is checked_type(Point)


def test_a_class_that_refers_to_what_is_not_known_yet_is_read_again() -> None:
    class Tree(BaseModel):
        root: "Branch"

    assert checked_type(Tree).json_problem is not None

    class Branch(BaseModel):
        name: str

    Tree.model_rebuild(_types_namespace={"Branch": Branch})
    assert checked_type(Tree).json_problem is None


@pytest.mark.parametrize(("hint", "value"), [(int | bool, 1), (bool | int, True)])
def test_types_that_are_equal_are_not_the_same(hint: object, value: object) -> None:
    assert checked_type(hint).adapter.validate_python("1") is value


@dataclass
class First(metaclass=Metaclass):
    x: int


@dataclass
class Second(metaclass=Metaclass):
    x: int


def test_classes_that_call_themselves_equal_are_not_the_same() -> None:
    assert checked_type(First).adapter.core_schema != checked_type(Second).adapter.core_schema
