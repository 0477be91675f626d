"""The times at which a schedule is due: pure, without a clock of its own."""

import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from itertools import takewhile
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import AwareDatetime, BaseModel, ConfigDict, field_validator, model_validator

from kiqstart.tasks.caller_types import LONGEST_INTERVAL

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NONE: Final = timedelta(0)
_ONE_SECOND: Final = timedelta(seconds=1)
_ONE_DAY: Final = timedelta(days=1)
_FIRST_LOOK_BACK: Final = timedelta(minutes=5)
_FIRST: Final = datetime.min.replace(tzinfo=UTC)
# All that can be said in five fields, with each value by its name, is shorter. It is read anew for each due time.
_LONGEST_EXPRESSION: Final = 1000
_FIELDS: Final = 5
_OFFSET: Final = re.compile(r"([+-])(\d\d):(\d\d)")
_NICKNAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "@yearly": "0 0 1 1 *",
        "@annually": "0 0 1 1 *",
        "@monthly": "0 0 1 * *",
        "@weekly": "0 0 * * 0",
        "@daily": "0 0 * * *",
        "@midnight": "0 0 * * *",
        "@hourly": "0 * * * *",
    }
)

_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NUMBERS: Final[Mapping[str, str]] = {
    **{name: str(number) for number, name in enumerate(_DAYS)},
    **{name: str(number) for number, name in enumerate(_MONTHS, 1)},
}
# The first and the last number of each field.
_BOUNDS: Final = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


class _BaseTrigger(BaseModel, ABC):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @abstractmethod
    def after(self, time: datetime) -> Iterator[datetime]:
        """The times at which it is due, in order, each later than `time`, in UTC."""

    def next_after(self, time: datetime) -> datetime | None:
        """The first time later than `time`; None where there is none any more."""
        return next(self.after(time), None)

    def between(self, since: datetime, until: datetime) -> Iterator[datetime]:
        """The times from `since` to `until`, both included, in order."""
        return takewhile(lambda due: due <= until, self.after(_just_before(since)))

    def newest(self, count: int, *, since: datetime, until: datetime) -> list[datetime]:
        """The last `count` times from `since` to `until`, both included, in order.

        The cost follows `count`, not the length of the time.
        """
        before = _just_before(since)
        span = _FIRST_LOOK_BACK
        while True:
            start = max(before, until - span) if until - _FIRST > span else before
            found = list(takewhile(lambda due: due <= until, self.after(start)))
            if len(found) >= count or start == before:
                return found[-count:]
            span *= 4


class IntervalTrigger(_BaseTrigger):
    """Each time `every` has passed, counted from `start`; the phase is the same for every process, for ever."""

    every: timedelta
    start: AwareDatetime = EPOCH

    @field_validator("every")
    @classmethod
    def _check(cls, every: timedelta) -> timedelta:
        if every < _ONE_SECOND or every % _ONE_SECOND:
            raise ValueError(f"every={every} must be a whole number of seconds, at least one")
        if every > LONGEST_INTERVAL:
            raise ValueError(f"every={every} must be at most a hundred years")
        return every

    def after(self, time: datetime) -> Iterator[datetime]:
        """Multiples of the interval from its start, also back from there: the clock may be set to before it."""
        due = self.start + ((time - self.start) // self.every + 1) * self.every
        while True:
            yield due
            due += self.every


class CronTrigger(_BaseTrigger):
    """When a cron expression says so, in a named time zone or at an offset such as +02:00.

    Computed by cronsim as Debian's cron does it: where a clock change skips local times, one run comes at the next
    valid one; where it doubles them, the runs come once. For that the hours have to be named; `*/15 * * * *` goes on
    through a clock change as if there were none.
    """

    expression: str
    time_zone: str = "UTC"

    @model_validator(mode="after")
    def _check(self) -> "CronTrigger":
        zone(self.time_zone)
        if len(self.expression) > _LONGEST_EXPRESSION:
            raise ValueError(f"cron {self.expression[:20]!r}… has more than {_LONGEST_EXPRESSION} characters")
        try:
            if self.next_after(EPOCH) is None:
                raise ValueError(f"cron {self.expression!r} is never due")
        except (CronSimError, AssertionError) as error:
            problem = f"{str(error) or 'it cannot be read'}{_advice(self.expression)}"
            raise ValueError(f"cron {self.expression!r}: {problem}") from None
        return self

    def after(self, time: datetime) -> Iterator[datetime]:
        """The expression's times, as UTC."""
        fields, start = _fields(self.expression), time.astimezone(zone(self.time_zone))
        last = time
        for due in _through_clock_changes(fields, start) if _has_any_hour(fields) else _by_local_time(fields, start):
            # Several skipped local times have the same next valid one, and the second of two doubled hours begins with
            # times of the first one.
            if due > last:
                last = due
                yield due


class DateTrigger(_BaseTrigger):
    """At one time, to the millisecond."""

    at: AwareDatetime

    @field_validator("at")
    @classmethod
    def _round(cls, at: datetime) -> datetime:
        try:
            at.astimezone(UTC)
        except OverflowError:
            raise ValueError(f"{at.isoformat()} is not within the years 1 to 9999 of UTC") from None
        return at.replace(microsecond=at.microsecond // 1000 * 1000)

    def after(self, time: datetime) -> Iterator[datetime]:
        """That time, if it is later."""
        if self.at > time:
            yield self.at.astimezone(UTC)

    def newest(self, count: int, *, since: datetime, until: datetime) -> list[datetime]:
        """That time, also where nothing can be earlier."""
        return [self.at.astimezone(UTC)][:count] if since <= self.at <= until else []


# Told apart by the names of their fields.
Trigger = IntervalTrigger | CronTrigger | DateTrigger


def zone(name: str) -> tzinfo:
    """A time zone by its name or offset.

    Raises:
        ValueError: there is none.
    """
    try:
        if offset := _OFFSET.fullmatch(name):
            sign, hours, minutes = offset.groups()
            span = timedelta(hours=int(hours), minutes=int(minutes))
            return timezone(-span if sign == "-" else span)
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"time zone {name[:50]!r} is not known; write one like 'Europe/Berlin'") from None


def _just_before(time: datetime) -> datetime:
    return time - timedelta(microseconds=1) if time > _FIRST else time


def _by_local_time(fields: str, start: datetime) -> Iterator[datetime]:
    for local in CronSim(fields, start):
        yield local.astimezone(UTC)


def _through_clock_changes(fields: str, start: datetime) -> Iterator[datetime]:
    """Every real time whose local time fits: a skipped one has none, a doubled one has two.

    cronsim itself would miss some where the clock is changed by half an hour, and not come to an end where that is done
    at a minute past the hour.
    """
    # Where the clock is about to be set back, earlier local times are still to come.
    back = max((start.utcoffset() or _NONE) - ((start + _ONE_DAY).utcoffset() or _NONE), _NONE)
    seconds: deque[datetime] = deque()
    for local in CronSim(fields, start.replace(tzinfo=None) - back):
        first, second = (local.replace(tzinfo=start.tzinfo, fold=fold).astimezone(UTC) for fold in (0, 1))
        if first > second:
            continue
        while seconds and seconds[0] < first:
            yield seconds.popleft()
        yield first
        if second > first:
            seconds.append(second)


def _has_any_hour(fields: str) -> bool:
    return fields.split()[1].startswith("*")


def _advice(expression: str) -> str:
    """What to write for a range that goes round midnight or the week, as Celery's do and cron's cannot."""
    for field, (first, last) in zip(expression.split(), _BOUNDS, strict=False):
        ranges: list[tuple[str, str]] = re.findall(r"(\w+)-(\w+)", field)
        for begin, end in ranges:
            low, high = _NUMBERS.get(begin.lower(), begin), _NUMBERS.get(end.lower(), end)
            if low.isdecimal() and high.isdecimal() and first <= int(high) < int(low) <= last:
                return f": a range cannot go round, write {low}-{last},{first}-{high} for {begin}-{end}"
    return ""


def _fields(expression: str) -> str:
    if expression.startswith("@"):
        nickname = expression.lower()
        if nickname not in _NICKNAMES:
            raise CronSimError(f"not known; there are {', '.join(_NICKNAMES)}")
        return _NICKNAMES[nickname]
    fields = expression.split()
    if len(fields) != _FIELDS:
        raise CronSimError("there must be five fields: minute hour day-of-month month day-of-week")
    minute, hour = fields[:2]
    # A star among the minutes would let cronsim take named hours, too, for times that go on through a clock change.
    if minute.startswith("*") and not hour.startswith("*"):
        fields[0] = "0-59" + minute[1:]
    return " ".join(fields)
