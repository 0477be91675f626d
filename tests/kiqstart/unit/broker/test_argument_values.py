"""Which arguments of a call are the same in JSON."""

import pytest

from kiqstart.broker.argument_values import ArgumentValues, is_same_json


@pytest.mark.parametrize(
    ("one", "other", "are_same"),
    [
        (7, 7.0, True),
        (7, "7", False),
        (1, True, False),
        (False, 0, False),
        (None, None, True),
        (None, "", False),
        ("a", "A", False),
        ([1, {"a": 2}], [1.0, {"a": 2}], True),
        ([1, 2], [1], False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"b": 1}, False),
    ],
)
def test_values_are_compared_as_json(one: object, other: object, *, are_same: bool) -> None:
    assert is_same_json(one, other) is are_same
    assert is_same_json(other, one) is are_same


def test_an_argument_is_known_by_its_name_or_its_place() -> None:
    values = ArgumentValues(args=[7, "x"], kwargs={"note": "y"})
    assert values.have("note", "y", ())
    assert values.have("number", 7, ["number", "text"])
    assert values.have("text", "x", ["number", "text", "note"])
    assert not values.have("number", 7, ())
    assert not values.have("note", "x", ["number", "note"]), "what was handed in by name is that"
    assert not values.have("other", None, ["number", "text", "other"])
