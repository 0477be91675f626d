from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiqstart.scheduler.definition import Definition, Missed
from kiqstart.scheduler.misfires import steps
from kiqstart.scheduler.triggers import Interval, Once

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def minutely(missed: Missed, at_most: int = 100, max_lateness: float | None = None) -> Definition:
    timing = Interval(every=timedelta(minutes=1))
    return Definition(name="n", task="t", timing=timing, missed=missed, at_most=at_most, max_lateness=max_lateness)


def seconds_sent(definition: Definition, seconds_late: float) -> list[float]:
    """The times that are sent, in seconds after noon, when it has been due since noon."""
    found = steps(definition, NOON, NOON + timedelta(seconds=seconds_late))
    return [(step.send - NOON).total_seconds() for step in found if step.send is not None]


@pytest.mark.parametrize(
    ("definition", "seconds_late", "expected"),
    [
        (minutely(Missed.LATEST), 0, [0]),
        (minutely(Missed.LATEST), 59, [0]),
        (minutely(Missed.LATEST), 200, [180]),
        (minutely(Missed.LATEST, max_lateness=20), 200, [180]),
        (minutely(Missed.LATEST, max_lateness=19), 200, []),
        (minutely(Missed.ALL), 200, [0, 60, 120, 180]),
        (minutely(Missed.ALL, at_most=2), 200, [120, 180]),
        (minutely(Missed.ALL, max_lateness=90), 200, [120, 180]),
        (minutely(Missed.ALL, at_most=1, max_lateness=90), 200, [180]),
        (minutely(Missed.NONE), 10, [0]),
        (minutely(Missed.NONE), 10.001, []),
        (minutely(Missed.NONE), 185, [180]),
        (minutely(Missed.NONE, max_lateness=4), 185, []),
        (minutely(Missed.NONE, max_lateness=600), 50, []),
    ],
)
def test_what_is_made_up(definition: Definition, seconds_late: float, expected: list[float]) -> None:
    assert seconds_sent(definition, seconds_late) == expected


@given(
    missed=st.sampled_from(Missed),
    at_most=st.integers(1, 20),
    max_lateness=st.none() | st.floats(0, 2000),
    seconds_late=st.floats(0, 2000),
)
def test_steps_lead_from_one_to_the_next_and_beyond_now(
    missed: Missed, at_most: int, max_lateness: float | None, seconds_late: float
) -> None:
    now = NOON + timedelta(seconds=seconds_late)
    found = steps(minutely(missed, at_most, max_lateness), NOON, now)
    assert found[0].expected == NOON
    assert [step.following for step in found[:-1]] == [step.expected for step in found[1:]]
    last = found[-1].following
    assert last is not None
    assert now < last <= now + timedelta(minutes=1)


def test_a_time_that_is_over_is_sent_however_late_and_then_it_ends() -> None:
    (step,) = steps(Definition(name="n", task="t", timing=Once(at=NOON)), NOON, NOON + timedelta(days=400))
    assert (step.expected, step.send, step.following) == (NOON, NOON, None)


def test_one_that_stands_at_no_time_of_its_own_goes_on() -> None:
    """The rules of its zone have changed since."""
    stray = NOON + timedelta(seconds=7)
    (step,) = steps(minutely(Missed.LATEST), stray, stray + timedelta(seconds=1))
    assert (step.expected, step.send, step.following) == (stray, None, NOON + timedelta(minutes=1))
