"""Which of the times that are due are sent, and which were missed for good."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from kiqstart.scheduler.definition import CatchUp, ScheduleDefinition, UnreadableScheduleError
from kiqstart.scheduler.log_text import error_line

# A scheduler that was restarted, or a short outage, does not make a time a missed one.
ON_TIME: Final = timedelta(seconds=10)
MOST_MADE_UP: Final = 10_000
"""How many missed times of a schedule are caught up at most, whatever it says."""
# So many steps are given at a time: the rest is still due afterwards, and others get their turn before.
_STEPS_AT_ONCE: Final = 200


@dataclass(frozen=True, kw_only=True)
class FireTime:
    """One step of a schedule: what was due at `expected` is done with, and `following` is due next.

    Args:
        send: the time that is sent in this step; None: nothing is.
        following: None where the schedule has ended.
    """

    expected: datetime
    send: datetime | None
    following: datetime | None


def steps(definition: ScheduleDefinition, due: datetime, now: datetime) -> list[FireTime]:
    """What to do at `now` with a schedule that has been due since `due`; each step begins where the last one ended.

    Where there are very many, these are the first ones.

    Raises:
        UnreadableScheduleError: its times cannot be computed.
    """
    try:
        return _steps(definition, due, now)
    except Exception as error:
        raise UnreadableScheduleError(f"its times cannot be computed: {error_line(error)}") from error


def next_after(definition: ScheduleDefinition, time: datetime) -> datetime | None:
    """The first time later than `time` at which a schedule is due; None where there is none.

    Raises:
        UnreadableScheduleError: its times cannot be computed.
    """
    try:
        return definition.timing.next_after(time)
    except Exception as error:
        raise UnreadableScheduleError(f"its times cannot be computed: {error_line(error)}") from error


def after_giving_up(definition: ScheduleDefinition, due: datetime, since: datetime) -> datetime | None:
    """When a schedule is due next whose first step at `since` is given up: that time alone is, none that came later.

    Raises:
        UnreadableScheduleError: its times cannot be computed.
    """
    if definition.catch_up is CatchUp.ALL:
        return next_after(definition, due)
    return steps(definition, due, since)[0].following


def _steps(definition: ScheduleDefinition, due: datetime, now: datetime) -> list[FireTime]:
    count = min(definition.max_catch_up, MOST_MADE_UP) if definition.catch_up is CatchUp.ALL else 1
    times = definition.timing.newest(count, since=due, until=now)
    latest = times[-1] if times else due
    sent = [time for time in times if not _is_too_late(definition, now - time)]
    following = definition.timing.next_after(latest)
    if not sent:
        return [FireTime(expected=due, send=None, following=following)]
    expectations = [due, *sent[1:]]
    return [
        FireTime(expected=expected, send=time, following=after)
        for expected, time, after in zip(expectations, sent, [*sent[1:], following], strict=True)
    ][:_STEPS_AT_ONCE]


def _is_too_late(definition: ScheduleDefinition, lateness: timedelta) -> bool:
    # In seconds: nobody has promised that a timedelta can be as long.
    longest = definition.misfire_grace_time
    if definition.catch_up is CatchUp.NONE:
        longest = ON_TIME.total_seconds() if longest is None else min(longest, ON_TIME.total_seconds())
    return longest is not None and lateness.total_seconds() > longest
