import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiqstart.scheduler.definition import CatchUp, ScheduleDefinition, UnreadableScheduleError
from kiqstart.scheduler.triggers import CronTrigger, DateTrigger, IntervalTrigger

HOURLY = IntervalTrigger(every=timedelta(hours=1))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(max_size=5)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
definitions = st.builds(
    ScheduleDefinition,
    name=st.text(min_size=1, max_size=10),
    task=st.text(min_size=1, max_size=10),
    args=st.lists(values, max_size=3).map(tuple),
    kwargs=st.dictionaries(st.text(max_size=5), values, max_size=3),
    labels=st.dictionaries(st.text(max_size=5), st.booleans() | st.integers(-9, 9) | st.text(max_size=5), max_size=3),
    timing=st.sampled_from(
        [
            HOURLY,
            IntervalTrigger(every=timedelta(seconds=7), start=datetime(2026, 5, 1, 12, 0, 0, 5000, tzinfo=UTC)),
            CronTrigger(expression="0 2 * * *", time_zone="Europe/Berlin"),
            DateTrigger(at=datetime(2026, 5, 1, 12, 0, 0, 123_000, tzinfo=UTC)),
        ]
    ),
    catch_up=st.sampled_from(CatchUp),
    max_catch_up=st.integers(1, 1000),
    misfire_grace_time=st.none() | st.floats(0, 1e6),
    is_dynamic=st.booleans(),
)


@given(definitions)
def test_what_was_dumped_is_loaded(definition: ScheduleDefinition) -> None:
    data = definition.dump()
    assert ScheduleDefinition.load(data) == definition
    assert ScheduleDefinition.load(data).dump() == data


def test_equal_definitions_are_the_same_text() -> None:
    one = ScheduleDefinition(name="n", task="t", kwargs={"a": 1, "b": {"c": 2, "d": 3}}, timing=HOURLY)
    other = ScheduleDefinition(name="n", task="t", kwargs={"b": {"d": 3, "c": 2}, "a": 1}, timing=HOURLY)
    assert one == other
    assert one.dump() == other.dump()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "Invalid JSON"),
        (b"\xff\xfe", "Invalid JSON"),
        (b"[]", "Input should be an object"),
        (b"{}", "name: Field required"),
        (json.dumps({"name": "n", "task": "t", "timing": {"every": "PT0S"}}).encode(), "at least one"),
        (json.dumps({"name": "n", "task": "t", "timing": {"expression": "0 0 30 2 *"}}).encode(), "cron '0 0 30 2 *'"),
    ],
)
def test_what_is_no_definition_says_why_in_a_line(data: bytes, problem: str) -> None:
    with pytest.raises(UnreadableScheduleError) as refused:
        ScheduleDefinition.load(data)
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)
