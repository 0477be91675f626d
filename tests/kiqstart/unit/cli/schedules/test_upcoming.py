from datetime import UTC, datetime, timedelta

import pytest

from kiqstart.cli.schedules.upcoming import StartError, parse_start, upcoming
from kiqstart.scheduler.triggers import CronTrigger, IntervalTrigger

NIGHTLY = CronTrigger(expression="30 2 * * *", time_zone="Europe/Berlin")


def test_runs_are_shown_over_a_clock_change_from_a_time_in_the_schedules_zone() -> None:
    assert list(upcoming(NIGHTLY, parse_start("2026-10-24T02:30"), 3)) == [
        "Sat 2026-10-24 02:30:00+02:00 CEST  2026-10-24 00:30:00 UTC",
        "Sun 2026-10-25 02:30:00+02:00 CEST  2026-10-25 00:30:00 UTC",
        "Mon 2026-10-26 02:30:00+01:00 CET  2026-10-26 01:30:00 UTC  (clocks went back by 1 h)",
    ]
    assert [line[4:25] for line in upcoming(NIGHTLY, parse_start("2026-03-28T02:31"), 2)] == [
        "2026-03-29 03:00:00+0",
        "2026-03-30 02:30:00+0",
    ]


@pytest.mark.parametrize(
    ("zone", "change"), [("Antarctica/Troll", "forward by 2 h"), ("Europe/London", "forward by 1 h")]
)
def test_a_clock_change_away_from_utc_is_named(zone: str, change: str) -> None:
    daily = CronTrigger(expression="0 12 * * *", time_zone=zone)
    _, line = upcoming(daily, parse_start("2026-03-28T12:00"), 2)
    assert line.endswith(f"(clocks went {change})")


def test_a_time_with_a_zone_is_taken_as_it_is() -> None:
    [line] = upcoming(NIGHTLY, parse_start("2026-10-24T00:31Z"), 1)
    assert line.startswith("Sun 2026-10-25")


def test_without_a_time_runs_are_those_after_now() -> None:
    [line] = upcoming(IntervalTrigger(every=timedelta(hours=1)), parse_start(None), 1)
    due = datetime.strptime(line.split("  ")[1], "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)
    assert timedelta(0) <= due - datetime.now(UTC) + timedelta(minutes=1) <= timedelta(minutes=61)


@pytest.mark.parametrize("text", ["soon", "", "12:00", "2026-13-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(StartError, match=r"is no time: write 2026-10-24T12:00"):
        parse_start(text)


@pytest.mark.parametrize(
    "timing", [NIGHTLY, CronTrigger(expression="0 2 * * *"), IntervalTrigger(every=timedelta(days=30))]
)
@pytest.mark.parametrize("text", ["0001-01-01", "0001-01-01T00:00Z", "0001-01-01T00:00+14:00"])
def test_the_beginning_of_the_calendar_is_told(timing: CronTrigger | IntervalTrigger, text: str) -> None:
    with pytest.raises(StartError, match="too near to the beginning of the calendar"):
        list(upcoming(timing, parse_start(text), 5))


@pytest.mark.parametrize("timing", [NIGHTLY, IntervalTrigger(every=timedelta(days=30))])
def test_the_end_of_the_calendar_is_told(timing: CronTrigger | IntervalTrigger) -> None:
    with pytest.raises(StartError, match="too near to the end of the calendar"):
        list(upcoming(timing, parse_start("9999-12-31T12:00"), 5))


def test_the_last_runs_of_the_calendar_are_shown_although_more_were_asked_for() -> None:
    yearly = CronTrigger(expression="0 2 1 1 *")
    assert [line[4:8] for line in upcoming(yearly, parse_start("9997-06-01"), 5)] == ["9998", "9999"]
