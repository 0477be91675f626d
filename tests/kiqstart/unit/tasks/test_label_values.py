import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskiq import TaskiqMessage
from taskiq.acks import AcknowledgeType

from kiqstart.broker.retries import retry_delay
from kiqstart.tasks import label_values

TEN_YEARS = 10 * 365 * 24 * 3600
LABELS = [
    "timeout",
    "ack_type",
    "retries",
    "max_retries",
    "retry_delay",
    "retry_backoff",
    "retry_max_delay",
    "retry_jitter",
]
VALUES = (
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=5,
    )
    | st.sampled_from(["nan", "inf", "-inf", "1e306", "-1e306", "9" * 5000, "1_0", "when_saved", "WHEN_SAVED", "٣"])
    | st.sampled_from([1e306, -1e306, 10**400, b"bytes"])
)


def message(**labels: object) -> TaskiqMessage:
    return TaskiqMessage(task_id="1", task_name="try", labels=labels, args=[], kwargs={})


@given(st.dictionaries(st.sampled_from(LABELS), VALUES), st.integers(min_value=0, max_value=10**6))
def test_whatever_the_labels_of_a_message_are_they_give_sane_values(labels: dict[str, object], retries: int) -> None:
    odd = message(**labels)
    timeout = label_values.timeout_of(odd)
    assert timeout is None or 0 < timeout <= TEN_YEARS
    assert isinstance(label_values.ack_type_of(odd, AcknowledgeType.MANUAL), AcknowledgeType)
    for count in (label_values.retries_of(odd), label_values.max_retries_of(odd)):
        assert 0 <= count <= 10**6
    delay = retry_delay(odd, retries)
    assert math.isfinite(delay)
    assert 0 <= delay <= TEN_YEARS


@pytest.mark.parametrize(("value", "seconds"), [(3, 3), (0.5, 0.5), ("30", 30), ("1e400", TEN_YEARS), (None, None)])
def test_a_time_out_may_be_a_number_or_its_text(value: object, seconds: float | None) -> None:
    assert label_values.timeout_of(message(timeout=value)) == seconds


@pytest.mark.parametrize("value", [0, -1, "soon", math.nan, [1], {}])
def test_a_time_out_that_makes_no_sense_is_none_and_one_line_says_so(
    value: object, caplog: pytest.LogCaptureFixture
) -> None:
    assert label_values.timeout_of(message(timeout=value)) is None
    assert caplog.messages == [f"Task try with id 1: its label timeout={value!r} makes no sense and is ignored"]


def test_a_message_is_acknowledged_when_its_result_is_saved_if_its_label_makes_no_sense(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert label_values.ack_type_of(message(ack_type="whenever"), AcknowledgeType.MANUAL) is AcknowledgeType.WHEN_SAVED
    assert label_values.ack_type_of(message(), AcknowledgeType.MANUAL) is AcknowledgeType.MANUAL
    assert label_values.ack_type_of(message(ack_type="MANUAL"), AcknowledgeType.WHEN_SAVED) is AcknowledgeType.MANUAL
    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    ("label", "value", "problem"),
    [
        ("timeout", 0, "leaves no time: write seconds above 0, or None for no limit"),
        ("timeout", True, "is no number from 0 to 3.1536e+08"),
        ("max_retries", True, "is no number from 0 to 1e+06"),
        ("max_retries", 1.5, "is no whole number"),
    ],
)
def test_a_caller_is_told_what_is_wrong_with_a_number(label: str, value: object, problem: str) -> None:
    assert label_values.option_problem({label: value}) == f"the label {label}={value!r} {problem}"


@pytest.mark.parametrize("value", [2, 2.0, "2", None])
def test_a_caller_may_set_a_whole_number_of_retries(value: object) -> None:
    assert label_values.option_problem({"max_retries": value}) is None
