"""When a cron expression is due, found by looking at every minute: the oracle of `timing.CronTrigger`."""

import calendar
from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from functools import cache
from zoneinfo import ZoneInfo

_MINUTE = timedelta(minutes=1)
_FIRST_AND_LAST = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]


def cron_times(expression: str, time_zone: str, *, after: datetime, until: datetime) -> list[datetime]:
    """All times later than `after`, up to and including `until`.

    Where both minute and hour are named, local time counts: a doubled minute is due the first time, skipped ones are
    due together at the next minute that there is. Where the hour is a star, each real minute counts.
    """
    zone = ZoneInfo(time_zone)
    fields = expression.upper().split()
    follows_local_time = not fields[1].startswith("*")
    found: set[datetime] = set()
    # A day before, for what the clock skips just before `after`.
    time = after.replace(second=0, microsecond=0) - timedelta(days=1)
    while time <= until:
        if any(_matches(fields, local) for local in _local_minutes(time, zone, follows_local_time)):
            found.add(time)
        time += _MINUTE
    return sorted(time for time in found if time > after)


def _local_minutes(time: datetime, zone: tzinfo, follows_local_time: bool) -> Iterator[datetime]:
    """The local minutes of which this is the real one."""
    local = time.astimezone(zone)
    if not follows_local_time:
        yield local
        return
    if local.fold:
        return
    local = local.replace(tzinfo=None)
    yield local
    before = (time - _MINUTE).astimezone(zone).replace(tzinfo=None)
    while before + _MINUTE < local:
        before += _MINUTE
        yield before


def _matches(fields: list[str], local: datetime) -> bool:
    minute, hour, day, month, weekday = fields
    if local.minute not in _values(0, minute) or local.hour not in _values(1, hour):
        return False
    if local.month not in _values(3, month):
        return False
    is_day = _is_day_of_month(day, local)
    is_weekday = _is_day_of_week(weekday, local)
    if day.startswith("*") or weekday.startswith("*"):
        return is_day and is_weekday
    return is_day or is_weekday


def _is_day_of_month(field: str, local: datetime) -> bool:
    last = calendar.monthrange(local.year, local.month)[1]
    return any(local.day == last if term == "L" else local.day in _values(2, term) for term in field.split(","))


def _is_day_of_week(field: str, local: datetime) -> bool:
    last = calendar.monthrange(local.year, local.month)[1]
    for term in field.split(","):
        if term.endswith("L"):
            if local.isoweekday() % 7 in _values(4, term[:-1]) and local.day + 7 > last:
                return True
        elif "#" in term:
            name, _, place = term.partition("#")
            if local.isoweekday() % 7 in _values(4, name) and (local.day - 1) // 7 + 1 == int(place):
                return True
        elif local.isoweekday() % 7 in _values(4, term):
            return True
    return False


@cache
def _values(place: int, field: str) -> set[int]:
    found: set[int] = set()
    for term in field.split(","):
        span, _, step = term.partition("/")
        first, last = _FIRST_AND_LAST[place]
        if span != "*":
            start, _, end = span.partition("-")
            first = _number(place, start)
            last = _number(place, end) if end else last if step else first
        found.update(range(first, last + 1, int(step or 1)))
    return {0 if place == 4 and value == 7 else value for value in found}


def _number(place: int, text: str) -> int:
    if place == 3 and text in _MONTHS:
        return _MONTHS.index(text) + 1
    if place == 4 and text in _DAYS:
        return _DAYS.index(text)
    return int(text)
