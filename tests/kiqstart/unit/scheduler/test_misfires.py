from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiqstart.scheduler.definition import CatchUp, ScheduleDefinition
from kiqstart.scheduler.misfires import steps
from kiqstart.scheduler.triggers import CronTrigger, DateTrigger, IntervalTrigger

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def minutely(catch_up: CatchUp, max_catch_up: int = 100, misfire_grace_time: float | None = None) -> ScheduleDefinition:
    timing = IntervalTrigger(every=timedelta(minutes=1))
    return ScheduleDefinition(
        name="n",
        task="t",
        timing=timing,
        catch_up=catch_up,
        max_catch_up=max_catch_up,
        misfire_grace_time=misfire_grace_time,
    )


def seconds_sent(definition: ScheduleDefinition, seconds_late: float) -> list[float]:
    """The times that are sent, in seconds after noon, when it has been due since noon."""
    found = steps(definition, NOON, NOON + timedelta(seconds=seconds_late))
    return [(step.send - NOON).total_seconds() for step in found if step.send is not None]


@pytest.mark.parametrize(
    ("definition", "seconds_late", "expected"),
    [
        (minutely(CatchUp.LATEST), 0, [0]),
        (minutely(CatchUp.LATEST), 59, [0]),
        (minutely(CatchUp.LATEST), 200, [180]),
        (minutely(CatchUp.LATEST, misfire_grace_time=20), 200, [180]),
        (minutely(CatchUp.LATEST, misfire_grace_time=19), 200, []),
        (minutely(CatchUp.ALL), 200, [0, 60, 120, 180]),
        (minutely(CatchUp.ALL, max_catch_up=2), 200, [120, 180]),
        (minutely(CatchUp.ALL, misfire_grace_time=90), 200, [120, 180]),
        (minutely(CatchUp.ALL, max_catch_up=1, misfire_grace_time=90), 200, [180]),
        (minutely(CatchUp.NONE), 10, [0]),
        (minutely(CatchUp.NONE), 10.001, []),
        (minutely(CatchUp.NONE), 185, [180]),
        (minutely(CatchUp.NONE, misfire_grace_time=4), 185, []),
        (minutely(CatchUp.NONE, misfire_grace_time=600), 50, []),
    ],
)
def test_what_is_made_up(definition: ScheduleDefinition, seconds_late: float, expected: list[float]) -> None:
    assert seconds_sent(definition, seconds_late) == expected


def secondly(catch_up: CatchUp, max_catch_up: int = 100) -> ScheduleDefinition:
    timing = IntervalTrigger(every=timedelta(seconds=1))
    return ScheduleDefinition(name="n", task="t", timing=timing, catch_up=catch_up, max_catch_up=max_catch_up)


def test_each_time_that_is_still_on_time_is_sent_where_none_is_caught_up() -> None:
    assert seconds_sent(secondly(CatchUp.NONE), 3) == [0, 1, 2, 3]
    assert seconds_sent(secondly(CatchUp.NONE), 60) == [*range(50, 61)]


@pytest.mark.parametrize(
    ("definition", "seconds_late", "expected"),
    [
        (minutely(CatchUp.LATEST), 59, ""),
        (minutely(CatchUp.LATEST), 60, "at 2026-05-01T12:00:00Z"),
        (minutely(CatchUp.LATEST), 200, "3 times from 2026-05-01T12:00:00Z to 2026-05-01T12:02:00Z"),
        (
            minutely(CatchUp.LATEST, misfire_grace_time=19),
            90,
            "2 times from 2026-05-01T12:00:00Z to 2026-05-01T12:01:00Z",
        ),
        (minutely(CatchUp.ALL), 200, ""),
        (minutely(CatchUp.ALL, max_catch_up=2), 200, "2 times from 2026-05-01T12:00:00Z to 2026-05-01T12:01:00Z"),
        (minutely(CatchUp.NONE), 10, ""),
        (minutely(CatchUp.NONE), 11, "at 2026-05-01T12:00:00Z"),
        (secondly(CatchUp.LATEST), 5000, "5000 times from 2026-05-01T12:00:00Z to 2026-05-01T13:23:19Z"),
        (secondly(CatchUp.NONE), 15, "5 times from 2026-05-01T12:00:00Z to 2026-05-01T12:00:04Z"),
    ],
)
def test_what_is_passed_over_for_good_is_named_in_the_first_step(
    definition: ScheduleDefinition, seconds_late: float, expected: str
) -> None:
    first, *others = steps(definition, NOON, NOON + timedelta(seconds=seconds_late))
    assert first.missed == expected
    assert not any(step.missed for step in others)


def test_very_many_times_of_a_cron_expression_are_not_counted() -> None:
    every = ScheduleDefinition(name="n", task="t", timing=CronTrigger(expression="* * * * *"))
    (step,) = steps(every, NOON, NOON + timedelta(days=1))
    assert step.missed == "more than 100 times from 2026-05-01T12:00:00Z to 2026-05-02T11:59:00Z"


@given(
    catch_up=st.sampled_from(CatchUp),
    max_catch_up=st.integers(1, 20),
    misfire_grace_time=st.none() | st.floats(0, 2000),
    seconds_late=st.floats(0, 2000),
)
def test_steps_lead_from_one_to_the_next_and_beyond_now(
    catch_up: CatchUp, max_catch_up: int, misfire_grace_time: float | None, seconds_late: float
) -> None:
    now = NOON + timedelta(seconds=seconds_late)
    found = steps(minutely(catch_up, max_catch_up, misfire_grace_time), NOON, now)
    assert found[0].expected == NOON
    assert [step.following for step in found[:-1]] == [step.expected for step in found[1:]]
    last = found[-1].following
    assert last is not None
    assert now < last <= now + timedelta(minutes=1)


def test_a_time_that_is_over_is_sent_however_late_and_then_it_ends() -> None:
    (step,) = steps(
        ScheduleDefinition(name="n", task="t", timing=DateTrigger(at=NOON)), NOON, NOON + timedelta(days=400)
    )
    assert (step.expected, step.send, step.following) == (NOON, NOON, None)


def test_one_that_stands_at_no_time_of_its_own_goes_on() -> None:
    """The rules of its zone have changed since."""
    stray = NOON + timedelta(seconds=7)
    (step,) = steps(minutely(CatchUp.LATEST), stray, stray + timedelta(seconds=1))
    assert (step.expected, step.send, step.following) == (stray, None, NOON + timedelta(minutes=1))
