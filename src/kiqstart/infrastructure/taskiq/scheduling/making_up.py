"""Which of the times that are due are sent, and which were missed for good."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from kiqstart.infrastructure.taskiq.scheduling.definition import Definition, Missed

# A scheduler that was restarted, or a short outage, does not make a time a missed one.
ON_TIME: Final = timedelta(seconds=10)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a schedule: what was due at `expected` is done with, and `following` is due next.

    Args:
        send: the time that is sent in this step; None: nothing is.
        following: None where the schedule has ended.
    """

    expected: datetime
    send: datetime | None
    following: datetime | None


def steps(definition: Definition, due: datetime, now: datetime) -> list[Step]:
    """What to do at `now` with a schedule that has been due since `due`; each step begins where the last one ended."""
    count = definition.at_most if definition.missed is Missed.ALL else 1
    times = definition.timing.newest(count, since=due, until=now)
    latest = times[-1] if times else due
    sent = [time for time in times if not _is_too_late(definition, now - time)]
    following = definition.timing.next_after(latest)
    if not sent:
        return [Step(expected=due, send=None, following=following)]
    expectations = [due, *sent[1:]]
    return [
        Step(expected=expected, send=time, following=after)
        for expected, time, after in zip(expectations, sent, [*sent[1:], following], strict=True)
    ]


def _is_too_late(definition: Definition, lateness: timedelta) -> bool:
    longest = None if definition.max_lateness is None else timedelta(seconds=definition.max_lateness)
    if definition.missed is Missed.NONE:
        longest = ON_TIME if longest is None else min(longest, ON_TIME)
    return longest is not None and lateness > longest
