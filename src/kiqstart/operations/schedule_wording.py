"""Schedules in words."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Final

from kiqstart.operations.text import shown
from kiqstart.scheduler.triggers import CronTrigger, IntervalTrigger, Trigger, zone

_UNITS: Final = ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "min"))


def shown_timing(timing: Trigger) -> str:
    """When it is due: `every 1 d`, `0 2 * * * Europe/Berlin` or `once`."""
    match timing:
        case IntervalTrigger():
            return f"every {shown_duration(timing.every)}"
        case CronTrigger():
            return shown(f"{timing.expression} {timing.time_zone}")
        case _:
            return "once"


def shown_duration(duration: timedelta) -> str:
    """In the greatest unit that fits without a remainder: `90 min`."""
    for unit, name in _UNITS:
        if duration >= unit and not duration % unit:
            return f"{duration // unit} {name}"
    return f"{duration.total_seconds():g} s"


def shown_seconds(seconds: float) -> str:
    """About: `12 ms`, `3.4 s`, `7 min`, `5 h`, `12 d`."""
    for unit, name in _UNITS:
        if seconds >= 2 * unit.total_seconds():
            return f"{seconds / unit.total_seconds():.0f} {name}"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def shown_arguments(args: Sequence[object], kwargs: Mapping[str, object]) -> list[str]:
    """The arguments as a call has them: `days_old=30`."""
    return [shown(text) for text in (*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items()))]


def zone_of(timing: Trigger) -> tzinfo | None:
    """The time zone that a schedule is written in; None for this machine's."""
    return zone(timing.time_zone) if isinstance(timing, CronTrigger) else None


def shown_local(time: datetime, timing: Trigger) -> str:
    """A time in the schedule's zone, else in this machine's: `Sun 2026-10-25 02:30:00+02:00 CEST`."""
    local = time.astimezone(zone_of(timing))
    name = f"{local:%Z}"
    # A zone that is a bare offset has that as its name.
    return f"{local:%a} {local.isoformat(' ', 'seconds')}" + (f" {name}" if name.isalpha() else "")
