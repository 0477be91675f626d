from datetime import UTC, datetime, timedelta, timezone
from itertools import islice, pairwise, takewhile

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.kiqstart.unit.scheduler.brute_force import cron_times

from kiqstart.scheduler.triggers import CronTrigger, DateTrigger, IntervalTrigger, Trigger

_BERLIN = "Europe/Berlin"
_LORD_HOWE = "Australia/Lord_Howe"
# Moments near which clocks change: by an hour, by half of one, at midnight, at a minute past it, by a whole day.
_CHANGES = [
    (_BERLIN, datetime(2026, 3, 29, 1, tzinfo=UTC)),
    (_BERLIN, datetime(2026, 10, 25, 1, tzinfo=UTC)),
    (_LORD_HOWE, datetime(2026, 4, 4, 15, tzinfo=UTC)),
    (_LORD_HOWE, datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    ("America/Santiago", datetime(2026, 4, 5, 3, tzinfo=UTC)),
    ("America/Santiago", datetime(2026, 9, 6, 4, tzinfo=UTC)),
    ("America/Havana", datetime(2026, 3, 8, 5, tzinfo=UTC)),
    ("America/St_Johns", datetime(2006, 10, 29, 2, 31, tzinfo=UTC)),
    ("Antarctica/Troll", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),
    ("Asia/Kolkata", datetime(2026, 5, 1, tzinfo=UTC)),
]
_MINUTES = ["0", "30", "0,30", "*/15", "*", "59", "10-50/20", "*/7", "15-45", "0,*/20", "5/13"]
_HOURS = ["2", "1", "3", "0", "23", "1-3", "0,2", "2-4/2", "0-23", "1/2", "*", "*/2", "*/3"]
_DAYS = ["*", "*", "L", "1", "29", "30", "1-7", "*/2", "4,24,25,28,L"]
_MONTHS = ["*", "*", "MAR,OCT", "3-12", "*/2"]
_WEEKDAYS = ["*", "*", "SUN", "7", "MON-FRI", "SUN#1", "0L", "SAT#5", "5-7"]
expressions = st.tuples(*(st.sampled_from(field) for field in (_MINUTES, _HOURS, _DAYS, _MONTHS, _WEEKDAYS))).map(
    " ".join
)
shifts = st.timedeltas(timedelta(hours=-20), timedelta(hours=20))


def cron(expression: str, time_zone: str = "UTC") -> CronTrigger:
    return CronTrigger(expression=expression, time_zone=time_zone)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def first(timing: Trigger, after: str, count: int = 3) -> list[str]:
    return [f"{due:%m-%d %H:%M:%S}" for due in islice(timing.after(at(after)), count)]


def up_to(timing: Trigger, after: datetime, until: datetime) -> list[datetime]:
    return list(takewhile(lambda due: due <= until, timing.after(after)))


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("10-30/10 8 * * *", "2026-05-01", ["05-01 08:10:00", "05-01 08:20:00", "05-01 08:30:00"]),
        ("0 8,20 * * *", "2026-05-01T12:00", ["05-01 20:00:00", "05-02 08:00:00", "05-02 20:00:00"]),
        ("0 0 * feb,nov sat", "2026-02-20", ["02-21 00:00:00", "02-28 00:00:00", "11-07 00:00:00"]),
        ("0 0 L * *", "2026-02-20", ["02-28 00:00:00", "03-31 00:00:00", "04-30 00:00:00"]),
        ("0 0 * * MON#2", "2026-02-20", ["03-09 00:00:00", "04-13 00:00:00", "05-11 00:00:00"]),
        ("0 0 * * 5L", "2026-02-20", ["02-27 00:00:00", "03-27 00:00:00", "04-24 00:00:00"]),
        ("0 0 13 * FRI", "2026-02-12", ["02-13 00:00:00", "02-20 00:00:00", "02-27 00:00:00"]),
        ("@hourly", "2026-05-01", ["05-01 01:00:00", "05-01 02:00:00", "05-01 03:00:00"]),
        ("@daily", "2026-05-01", ["05-02 00:00:00", "05-03 00:00:00", "05-04 00:00:00"]),
        ("@Midnight", "2026-05-01", ["05-02 00:00:00", "05-03 00:00:00", "05-04 00:00:00"]),
        ("@weekly", "2026-05-01", ["05-03 00:00:00", "05-10 00:00:00", "05-17 00:00:00"]),
        ("@monthly", "2026-05-01", ["06-01 00:00:00", "07-01 00:00:00", "08-01 00:00:00"]),
        ("@yearly", "2026-05-01", ["01-01 00:00:00"] * 3),
        ("@annually", "2026-05-01", ["01-01 00:00:00"] * 3),
    ],
)
def test_cron_fields(expression: str, after: str, expected: list[str]) -> None:
    assert first(cron(expression), after) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("*/15 2 * * *", ["03-29 01:00:00", "03-30 00:00:00", "03-30 00:15:00"]),
        ("0,30 2 * * *", ["03-29 01:00:00", "03-30 00:00:00", "03-30 00:30:00"]),
        ("* 2 * * *", ["03-29 01:00:00", "03-30 00:00:00", "03-30 00:01:00"]),
        ("30 2,3 * * *", ["03-29 01:00:00", "03-29 01:30:00", "03-30 00:30:00"]),
    ],
)
def test_skipped_local_times_are_due_once_at_the_next_valid_one(expression: str, expected: list[str]) -> None:
    assert first(cron(expression, _BERLIN), "2026-03-28T12:00") == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("*/30 2 * * *", ["10-25 00:00:00", "10-25 00:30:00", "10-26 01:00:00"]),
        ("0,30 2 * * *", ["10-25 00:00:00", "10-25 00:30:00", "10-26 01:00:00"]),
        ("59 2 * * *", ["10-25 00:59:00", "10-26 01:59:00", "10-27 01:59:00"]),
    ],
)
def test_doubled_local_times_are_due_once(expression: str, expected: list[str]) -> None:
    assert first(cron(expression, _BERLIN), "2026-10-24T12:00") == expected


def test_each_minute_of_a_doubled_hour_is_due_once() -> None:
    due = up_to(cron("* 2 * * *", _BERLIN), at("2026-10-24T12:00"), at("2026-10-25T12:00"))
    assert due == [at("2026-10-25T00:00") + timedelta(minutes=minute) for minute in range(60)]


def test_a_start_within_the_second_of_two_doubled_hours_does_not_repeat_the_first() -> None:
    assert first(cron("0,30 2 * * *", _BERLIN), "2026-10-25T01:10", 1) == ["10-26 01:00:00"]


def test_any_hour_goes_on_through_clock_changes() -> None:
    for change in (at("2026-03-29T01:00"), at("2026-10-25T01:00")):
        due = up_to(cron("*/15 * * * *", _BERLIN), change - timedelta(hours=3), change + timedelta(hours=3))
        assert [b - a for a, b in pairwise(due)] == [timedelta(minutes=15)] * (len(due) - 1)


def test_clocks_that_change_by_half_an_hour() -> None:
    assert first(cron("15 2 * * *", _LORD_HOWE), "2026-10-02T20:00", 2) == ["10-03 15:30:00", "10-04 15:15:00"]
    assert first(cron("45 1 * * *", _LORD_HOWE), "2026-04-04T00:00", 2) == ["04-04 14:45:00", "04-05 15:15:00"]
    assert first(cron("10,40 */2 * * *", _LORD_HOWE), "2026-04-04T14:00", 2) == ["04-04 15:40:00", "04-04 16:10:00"]


def test_southern_summers() -> None:
    assert first(cron("30 0 * * *", "America/Santiago"), "2026-09-05T12:00", 2) == ["09-06 04:00:00", "09-07 03:30:00"]
    assert first(cron("30 23 * * *", "America/Santiago"), "2026-04-04T12:00", 2) == ["04-05 02:30:00", "04-06 03:30:00"]


def test_a_day_that_a_zone_skips_is_made_up_at_its_end() -> None:
    assert first(cron("0 12 * * *", "Pacific/Apia"), "2011-12-29T00:00") == [
        "12-29 22:00:00",
        "12-30 10:00:00",
        "12-30 22:00:00",
    ]


def test_offsets_are_zones_too() -> None:
    assert first(cron("0 2 * * *", "+05:30"), "2026-05-01", 1) == ["05-01 20:30:00"]
    assert first(cron("0 2 * * *", "-03:00"), "2026-05-01", 1) == ["05-01 05:00:00"]


@settings(max_examples=60, deadline=None)
@given(expression=expressions, change=st.sampled_from(_CHANGES), shift=shifts)
# cronsim itself does not come to an end with this one.
@example(
    expression="*/20,5 * * 3-11 0",
    change=("America/St_Johns", datetime(2006, 10, 28, 18, 19, tzinfo=UTC)),
    shift=timedelta(0),
)
def test_cron_is_due_when_brute_force_says_so(expression: str, change: tuple[str, datetime], shift: timedelta) -> None:
    time_zone, moment = change
    after, until = moment + shift, moment + shift + timedelta(hours=12)
    assert up_to(cron(expression, time_zone), after, until) == cron_times(
        expression, time_zone, after=after, until=until
    )


def near_change(change: tuple[str, datetime], shift: timedelta) -> datetime:
    return change[1] + shift


timings = st.one_of(
    st.builds(
        IntervalTrigger,
        every=st.integers(1, 100_000).map(lambda seconds: timedelta(seconds=seconds)),
        start=st.datetimes(datetime(2005, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  # bounds are naive by contract
    ),
    st.builds(cron, expressions, st.sampled_from([zone for zone, _ in _CHANGES])),
)
moments = st.builds(near_change, st.sampled_from(_CHANGES), shifts)


@settings(max_examples=60, deadline=None)
@given(timing=timings, moment=moments, pause=st.timedeltas(timedelta(0), timedelta(hours=3)))
def test_what_is_due_does_not_depend_on_when_one_asks(timing: Trigger, moment: datetime, pause: timedelta) -> None:
    later, until = moment + pause, moment + timedelta(hours=6)
    assert up_to(timing, later, until) == [due for due in up_to(timing, moment, until) if due > later]


@settings(max_examples=60, deadline=None)
@given(timing=timings, moment=moments, count=st.integers(1, 200), span=st.timedeltas(timedelta(0), timedelta(hours=10)))
def test_newest_is_the_end_of_all(timing: Trigger, moment: datetime, count: int, span: timedelta) -> None:
    due = timing.next_after(moment)
    assert due is not None
    until = due + span
    every = [due, *up_to(timing, due, until)]
    assert timing.newest(count, since=due, until=until) == every[-count:]


def test_newest_of_a_long_time_is_found_at_once() -> None:
    every = IntervalTrigger(every=timedelta(seconds=1))
    assert every.newest(2, since=at("1971-01-01"), until=at("2026-01-01")) == [
        at("2025-12-31T23:59:59"),
        at("2026-01-01"),
    ]
    assert cron("0 0 1 1 *").newest(1, since=at("1971-01-01"), until=at("2026-06-01")) == [at("2026-01-01")]
    once = DateTrigger(at=at("2026-01-01"))
    assert once.newest(5, since=once.at, until=at("2029-01-01")) == [once.at]


def test_an_interval_does_not_drift() -> None:
    minute = IntervalTrigger(every=timedelta(seconds=60))
    due = minute.next_after(at("2026-05-01T12:00:17"))
    assert due is not None
    begin = due
    for _ in range(1000):
        due = minute.next_after(due + timedelta(milliseconds=731))
        assert due is not None
    assert (due - begin).total_seconds() == 60_000


def test_an_interval_has_its_phase_before_its_start_too() -> None:
    minute = IntervalTrigger(every=timedelta(seconds=60), start=at("2026-05-01T12:00:17"))
    assert first(minute, "2026-05-01T11:00", 2) == ["05-01 11:00:17", "05-01 11:01:17"]
    assert first(minute, "2026-05-01T12:00:17", 1) == ["05-01 12:01:17"]


def test_once_is_due_once() -> None:
    once = DateTrigger(at=datetime(2026, 5, 1, 12, 0, 0, 123_999, tzinfo=timezone(timedelta(hours=2))))
    assert list(once.after(at("2026-05-01"))) == [at("2026-05-01T10:00:00.123")]
    assert list(once.after(at("2026-05-01T10:00:00.123"))) == []


@pytest.mark.parametrize(
    ("expression", "time_zone", "problem"),
    [
        ("0 0 2 * * *", "UTC", "there must be five fields"),
        ("0 2 * *", "UTC", "there must be five fields"),
        ("", "UTC", "there must be five fields"),
        ("*/0 * * * *", "UTC", "Bad minute"),
        ("60 * * * *", "UTC", "Bad minute"),
        ("5-1 * * * *", "UTC", "Bad minute"),
        ("0 0 30 2 *", "UTC", "cron '0 0 30 2 *'"),
        ("0 0 * * MON#6", "UTC", "Bad day-of-week"),
        ("@often", "UTC", "@hourly"),
        ("@reboot", "UTC", "not known"),
        ("0 2 * * *", "Mars/Olympus", "time zone 'Mars/Olympus' is not known"),
        ("0 2 * * *", "+25:00", "time zone '+25:00' is not known"),
    ],
)
def test_a_cron_that_cannot_be(expression: str, time_zone: str, problem: str) -> None:
    with pytest.raises(ValidationError) as refused:
        cron(expression, time_zone)
    assert problem in refused.value.errors()[0]["msg"]


@settings(max_examples=40, deadline=None)
@given(
    st.one_of(
        st.text(max_size=20),
        st.lists(st.text("0123456789*/,-#LWMONSAT?", max_size=6), min_size=5, max_size=5).map(" ".join),
    )
)
def test_whatever_is_written_is_a_cron_or_refused(expression: str) -> None:
    try:
        made = cron(expression)
    except ValidationError:
        return
    assert made.next_after(at("2026-01-01")) is not None


@pytest.mark.parametrize("every", [timedelta(0), timedelta(seconds=-1), timedelta(seconds=1.5), timedelta.max])
def test_an_interval_that_cannot_be(every: timedelta) -> None:
    with pytest.raises(ValidationError, match="must be"):
        IntervalTrigger(every=every)


def test_a_time_needs_a_zone() -> None:
    with pytest.raises(ValidationError, match="timezone"):
        DateTrigger(at=datetime(2026, 5, 1))  # noqa: DTZ001  # that is what is refused
