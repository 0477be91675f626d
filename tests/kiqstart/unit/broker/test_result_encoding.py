"""What a task returns, on its way from the worker to the caller."""

import json
import math
import time
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, PlainSerializer, SecretBytes, SecretStr, TypeAdapter, field_serializer
from pydantic.dataclasses import dataclass as pydantic_dataclass
from taskiq import TaskiqResult

from kiqstart.broker.results import decode_result, encode_result
from kiqstart.tasks.results.errors import ResultTooLargeError, UnserializableResultError
from kiqstart.tasks.sizes import DEFAULT_BYTES


class Rate(BaseModel):
    rate: float
    note: str | None = None


@dataclass
class Row:
    rate: float


@pydantic_dataclass
class CheckedRow:
    rate: float


class Loose(BaseModel):
    rate: Any


class Rounded(BaseModel):
    rate: float

    @field_serializer("rate")
    def or_none(self, value: float) -> float | None:
        return value if math.isfinite(value) else None


class RoundedInJson(BaseModel):
    rate: Annotated[float, PlainSerializer(lambda value: value if math.isfinite(value) else None, when_used="json")]


def result_of(value: object) -> TaskiqResult[Any]:
    return TaskiqResult(is_err=False, return_value=value, execution_time=0.1, labels={"queue_name": "low"})


def sent(value: object) -> TaskiqResult[Any]:
    return decode_result(encode_result("id", result_of(value)))


def with_number(number: float) -> list[tuple[object, object]]:
    """Types, and values of these that hold a number."""
    return [
        (float, number),
        (list[Any], [None, {"a": [number]}]),
        (Rate, Rate(rate=number)),
        (dict[str, list[Rate]], {"rates": [Rate(rate=1.5), Rate(rate=number)]}),
        (Row, Row(number)),
        (CheckedRow, CheckedRow(number)),
    ]


@pytest.mark.parametrize(
    ("declared", "value"), [case for number in (math.nan, math.inf, -math.inf) for case in with_number(number)]
)
def test_what_is_no_finite_number_arrives_as_what_it_was(declared: type[object], value: object) -> None:
    result = sent(value)
    assert not result.is_err
    assert repr(TypeAdapter(declared).validate_python(result.return_value)) == repr(value)


@pytest.mark.parametrize("model", [Rounded, RoundedInJson])
def test_a_serializer_of_the_projects_own_has_its_way(model: type[Rounded | RoundedInJson]) -> None:
    assert sent([model(rate=math.nan)]).return_value == [{"rate": None}]


def test_a_number_for_which_a_model_has_no_place_is_refused_by_name() -> None:
    result = sent({"all rates": [Loose(rate=1), Loose(rate=math.nan)]})
    assert isinstance(result.error, UnserializableResultError)
    assert str(result.error) == (
        "the task's result (dict) cannot be sent as JSON: return_value['all rates'][1].rate is not a finite number, "
        "and the type of its field in the model is not float"
    )


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"rows": [1, {"owner": object()}]}, "return_value.rows[1].owner"),
        ([Loose(rate=1), Loose(rate=object())], "return_value[1].rate"),
        (Row(object()), "return_value.rate"),  # type: ignore[arg-type]  # that is what is tried
        ({"a b": "\udc80"}, "return_value['a b']"),
    ],
)
def test_what_json_cannot_hold_is_refused_with_its_place(value: object, place: str) -> None:
    result = sent(value)
    assert isinstance(result.error, UnserializableResultError)
    assert f"cannot be sent as JSON at {place}: " in str(result.error)
    assert result.execution_time == 0.1


def labelled(labels: object, value: object = 7, error: BaseException | None = None) -> TaskiqResult[Any]:
    result = result_of(value)
    result.labels, result.error, result.is_err = labels, error, error is not None  # type: ignore[assignment]  # middlewares may
    return decode_result(encode_result("id", result))


@pytest.mark.parametrize(
    "label",
    [
        b"\xff",
        object(),
        "\udc80",
        {1: 2, "1": 3},
        Loose(rate=math.nan),
        pytest.param(10**5000, id="long"),
        pytest.param("x" * DEFAULT_BYTES, id="large"),
    ],
)
def test_a_label_that_cannot_be_sent_is_left_out_of_a_good_result_and_of_an_error(
    label: object, caplog: pytest.LogCaptureFixture
) -> None:
    result = labelled({"good": 1, "bad": label})
    assert (result.is_err, result.return_value, result.execution_time) == (False, 7, 0.1)
    is_large = isinstance(label, str) and len(label) > 10
    assert result.labels == ({} if is_large else {"good": 1})
    assert len(caplog.records) == 1
    assert "label" in caplog.text
    assert ("its label bad is left out of its result: " in caplog.text) is not is_large
    failed = labelled({"good": 1, "bad": label}, error=LookupError("no such row"))
    assert repr(failed.error) == "LookupError('no such row')"


def test_labels_that_are_no_dict_harm_no_result() -> None:
    assert labelled(object()).return_value == 7


def test_a_bad_result_is_blamed_although_a_label_is_bad_too() -> None:
    error = labelled({"bad": b"\xff"}, value=object()).error
    assert str(error).startswith("the task's result (object) cannot be sent as JSON at return_value: ")


def test_what_refers_to_itself_is_refused() -> None:
    value: list[object] = []
    value.append(value)
    assert isinstance(sent(value).error, UnserializableResultError)


def test_a_result_that_is_too_large_is_refused() -> None:
    result = sent("x" * DEFAULT_BYTES)
    assert isinstance(result.error, ResultTooLargeError)
    assert f" bytes, of which {DEFAULT_BYTES} are possible (TASKS_RESULT_BYTES" in str(result.error)
    whole, labels = encode_result("id", result_of("x")), b'"queue_name":"low"'
    assert labels in whole
    for limit in range(10, len(whole) + 5):
        is_refused = decode_result(encode_result("id", result_of("x"), limit=limit)).is_err
        assert is_refused is (limit < len(whole) - len(labels))


def test_what_pydantic_writes_is_read_however_deep_it_is() -> None:
    value: list[object] = []
    for _ in range(230):
        value = [value]
    assert sent(value).return_value == value


def test_an_error_outlives_what_lies_beside_it() -> None:
    result = TaskiqResult[Any](
        is_err=True, return_value=None, execution_time=0.5, error=ValueError("first"), labels={"made by": object()}
    )
    arrived = decode_result(encode_result("id", result))
    assert (repr(arrived.error), arrived.execution_time) == ("ValueError('first')", 0.5)


@settings(max_examples=50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_all_that_json_has_arrives_as_it_was_and_taskiq_reads_it_too(value: object) -> None:
    data = encode_result("id", result_of(value))
    assert repr(decode_result(data).return_value) == repr(value)
    assert repr(TaskiqResult[Any].model_validate_json(data).return_value) == repr(value)
    assert decode_result(data).labels == {"queue_name": "low"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no JSON"),
        (b"\x80\x04pickle", "no JSON"),
        (b"[1]", "it is a list and no JSON object"),
        (b'{"is_err": true}', "its return_value: Field required"),
        (b'{"is_err": 7, "return_value": 1, "execution_time": 0}', "its is_err: "),
        (b'{"is_err": true, "return_value": 1, "execution_time": 0, "error": "x"}', "its error is a str"),
        (b'{"is_err": false, "execution_time": 0, "return_value": ' + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_result_is_refused_in_one_line(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        decode_result(data)
    assert "\n" not in str(caught.value)


def test_a_large_result_with_many_nulls_takes_no_time() -> None:
    rows = [Rate(rate=number) for number in range(20_000)]
    began_at = time.process_time()
    data = encode_result("id", result_of(rows))
    assert time.process_time() - began_at < 1
    assert len(json.loads(data)["return_value"]) == 20_000


class WithSecret(Rate):
    token: SecretStr


@pytest.mark.parametrize(
    "value",
    [
        SecretStr("s3cret"),
        {"a": [SecretBytes(b"s3cret")]},
        {SecretStr("s3cret"): 1},
        [WithSecret(rate=1, token=SecretStr("s3cret"))],
        Loose(rate=SecretStr("s3cret")),
    ],
)
def test_a_secret_in_a_result_is_an_error_and_no_asterisks(value: object) -> None:
    result = sent(value)
    assert isinstance(result.error, UnserializableResultError)
    assert "which is written as asterisks, and cannot be sent as JSON" in str(result.error)


def test_asterisks_that_are_no_secret_arrive() -> None:
    assert sent({"a": ["**********"]}).return_value == {"a": ["**********"]}


PLAIN_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**4299, 10**4300, 10**5000, -(10**5000), "**********", "null", "NaN", "x" * 3000]),
    st.text(st.characters(exclude_categories=[])),
)


@given(PLAIN_VALUES)
def test_a_plain_value_arrives_alike_with_and_without_labels(value: object) -> None:
    without = TaskiqResult[Any](is_err=False, return_value=value, execution_time=0.1)
    wanted, got = sent(value), decode_result(encode_result("id", without))
    assert (type(got.error), str(got.error), got.return_value) == (
        type(wanted.error),
        str(wanted.error),
        wanted.return_value,
    )


@pytest.mark.parametrize("limit", [200, 2000])
def test_a_plain_value_has_a_limit(limit: int) -> None:
    without = TaskiqResult[Any](is_err=False, return_value="x" * limit, execution_time=0.1)
    result = decode_result(encode_result("id", without, limit=limit))
    assert isinstance(result.error, ResultTooLargeError)
