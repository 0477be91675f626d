"""Which of the times that are due are sent, and which were missed for good."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from kiqstart.scheduler.definition import CatchUp, ScheduleDefinition, UnreadableScheduleError
from kiqstart.scheduler.log_text import error_line
from kiqstart.scheduler.occurrence import time_text
from kiqstart.scheduler.triggers import IntervalTrigger, Trigger

# A scheduler that was restarted, or a short outage, does not make a time a missed one.
ON_TIME: Final = timedelta(seconds=10)
_MOMENT: Final = timedelta(microseconds=1)
MOST_MADE_UP: Final = 10_000
"""How many missed times of a schedule are caught up at most, whatever it says."""
# An interval is a second at least.
_MOST_ON_TIME: Final = 11
# Of cron expressions; an interval's times need no counting.
_MOST_COUNTED: Final = 100
# So many steps are given at a time: the rest is still due afterwards, and others get their turn before.
_STEPS_AT_ONCE: Final = 200


@dataclass(frozen=True, kw_only=True)
class FireTime:
    """One step of a schedule: what was due at `expected` is done with, and `following` is due next.

    Args:
        send: the time that is sent in this step; None: nothing is.
        following: None where the schedule has ended.
        missed: which times are passed over for good in this step, in words; '': none.
        passed_over: how many these are; of a cron expression, what is more than 100 counts as 100.
    """

    expected: datetime
    send: datetime | None
    following: datetime | None
    missed: str = ""
    passed_over: int = 0


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


def step_given_up(definition: ScheduleDefinition, due: datetime, since: datetime) -> FireTime:
    """The step that gives up what was first tried at `since`: that time alone, and none that came later.

    Raises:
        UnreadableScheduleError: its times cannot be computed.
    """
    if definition.catch_up is CatchUp.ALL:
        return FireTime(expected=due, send=None, following=next_after(definition, due))
    return steps(definition, due, since)[0]


def _steps(definition: ScheduleDefinition, due: datetime, now: datetime) -> list[FireTime]:
    times = definition.timing.newest(_count(definition), since=due, until=now)
    latest = times[-1] if times else due
    sent = [time for time in times if not _is_too_late(definition, now - time)]
    following = definition.timing.next_after(latest)
    if not sent:
        count, missed = _missed(definition.timing, due, latest)
        missed = missed or f"at {time_text(due)}"
        return [FireTime(expected=due, send=None, following=following, missed=missed, passed_over=max(count, 1))]
    count, missed = _missed(definition.timing, due, sent[0] - _MOMENT) if sent[0] > due else (0, "")
    expectations = [due, *sent[1:]]
    found = [
        FireTime(expected=expected, send=time, following=after)
        for expected, time, after in zip(expectations, sent, [*sent[1:], following], strict=True)
    ]
    return [replace(found[0], missed=missed, passed_over=count), *found[1:_STEPS_AT_ONCE]]


def _count(definition: ScheduleDefinition) -> int:
    """How many of the newest times are sent at most."""
    match definition.catch_up:
        case CatchUp.ALL:
            return min(definition.max_catch_up, MOST_MADE_UP)
        case CatchUp.NONE:
            return _MOST_ON_TIME
        case CatchUp.LATEST:
            return 1


def _missed(timing: Trigger, since: datetime, until: datetime) -> tuple[int, str]:
    """How many times there are from `since` to `until`, both included, and which in words: '' for none."""
    found = list(islice(timing.between(since, until), _MOST_COUNTED + 1))
    if len(found) < 2:  # noqa: PLR2004  # one is no range
        return len(found), "".join(f"at {time_text(time)}" for time in found)
    (last,) = timing.newest(1, since=since, until=until)
    count = min(len(found), _MOST_COUNTED)
    how_many = str(count) if len(found) <= _MOST_COUNTED else f"more than {_MOST_COUNTED}"
    if isinstance(timing, IntervalTrigger):
        count = 1 + (last - found[0]) // timing.every
        how_many = str(count)
    return count, f"{how_many} times from {time_text(found[0])} to {time_text(last)}"


def _is_too_late(definition: ScheduleDefinition, lateness: timedelta) -> bool:
    # In seconds: nobody has promised that a timedelta can be as long.
    longest = definition.misfire_grace_time
    if definition.catch_up is CatchUp.NONE:
        longest = ON_TIME.total_seconds() if longest is None else min(longest, ON_TIME.total_seconds())
    return longest is not None and lateness.total_seconds() > longest
