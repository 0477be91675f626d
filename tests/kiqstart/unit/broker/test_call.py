"""Which arguments of a call are the same in JSON."""

import pytest

from kiqstart.broker.call import Call, is_same_json


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
    call = Call(args=[7, "x"], kwargs={"note": "y"})
    assert call.has("note", "y", ())
    assert call.has("number", 7, ["number", "text"])
    assert call.has("text", "x", ["number", "text", "note"])
    assert not call.has("number", 7, ())
    assert not call.has("note", "x", ["number", "note"]), "what was handed in by name is that"
    assert not call.has("other", None, ["number", "text", "other"])
