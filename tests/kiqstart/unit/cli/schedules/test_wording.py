from datetime import UTC, datetime, timedelta

import pytest

from kiqstart.operations.schedule_wording import (
    shown_arguments,
    shown_duration,
    shown_local,
    shown_seconds,
    shown_timing,
)
from kiqstart.scheduler.triggers import CronTrigger, DateTrigger, IntervalTrigger, Trigger

TIME = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("duration", "shown"),
    [
        (timedelta(days=1), "1 d"),
        (timedelta(hours=36), "36 h"),
        (timedelta(seconds=60), "1 min"),
        (timedelta(seconds=90), "90 s"),
        (timedelta(seconds=0.5), "0.5 s"),
        (timedelta(0), "0 s"),
    ],
)
def test_a_duration_is_shown_in_its_greatest_whole_unit(duration: timedelta, shown: str) -> None:
    assert shown_duration(duration) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0123, "12 ms"), (1, "1.0 s"), (119.94, "119.9 s"), (120, "2 min"), (7200, "2 h"), (3 * 24 * 3600, "3 d")],
)
def test_a_time_span_is_shown_as_exactly_as_it_matters(seconds: float, shown: str) -> None:
    assert shown_seconds(seconds) == shown


@pytest.mark.parametrize(
    ("timing", "shown"),
    [
        (IntervalTrigger(every=timedelta(hours=36)), "every 36 h"),
        (CronTrigger(expression="0 2 * * *", time_zone="Europe/Berlin"), "0 2 * * * Europe/Berlin"),
        (DateTrigger(at=TIME), "once"),
    ],
)
def test_when_a_schedule_is_due_is_said_shortly(timing: Trigger, shown: str) -> None:
    assert shown_timing(timing) == shown


def test_arguments_are_shown_as_in_a_call_and_move_no_cursor() -> None:
    assert shown_arguments([1, "\x1b[2J"], {"days": 3}) == ["1", r"'\x1b[2J'", "days=3"]


@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        ("Europe/Berlin", "Sun 2026-10-25 02:30:00+02:00 CEST"),
        ("+05:30", "Sun 2026-10-25 06:00:00+05:30"),
    ],
)
def test_a_time_is_shown_in_the_zone_of_its_schedule(zone: str, shown: str) -> None:
    assert shown_local(TIME, CronTrigger(expression="30 * * * *", time_zone=zone)) == shown
