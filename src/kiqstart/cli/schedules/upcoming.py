"""`kiqstart schedules next`: when schedules are due."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice

from kiqstart.broker.broker import StreamBroker
from kiqstart.cli.application import on_broker, unconnected_application
from kiqstart.cli.terminal import echo, echo_json, shown
from kiqstart.errors import OperatorError
from kiqstart.operations.schedule_wording import shown_duration, shown_local, shown_timing, zone_of
from kiqstart.scheduler.source import DurableScheduleSource
from kiqstart.scheduler.triggers import Trigger


class StartError(OperatorError):
    """It is not clear from when on runs are to be shown."""


def run_next(names: Sequence[str], *, start: str | None, count: int, as_json: bool) -> None:
    """Print the runs of each schedule; of those in the table of this code as it has them, of others as Redis has them.

    Raises:
        StartError: `start` is no time.
        ScheduleError: there is no such schedule.
    """
    time = parse_start(start)
    timings = {schedule.name: schedule.timing for schedule in unconnected_application().schedules}
    if names:
        kept = [name for name in names if name not in timings]
        timings |= _kept_timings(kept) if kept else {}
        timings = {name: timings[name] for name in names}
    if as_json:
        echo_json(
            [
                {
                    "name": name,
                    "when": shown_timing(timing),
                    "runs": [due.isoformat() for due in _runs(timing, time, count)],
                }
                for name, timing in timings.items()
            ]
        )
        return
    for place, (name, timing) in enumerate(timings.items()):
        echo(("\n" if place else "") + f"{shown(name)}  {shown_timing(timing)}")
        for line in upcoming(timing, time, count):
            echo(f"  {line}")


def parse_start(text: str | None) -> datetime:
    """The time that a text names, which has a time zone only if the text has one; without a text, now.

    Raises:
        StartError: it names none.
    """
    try:
        return datetime.now(UTC) if text is None else datetime.fromisoformat(text)
    except ValueError:
        raise StartError(f"--from {text!r} is no time: write 2026-10-24T12:00, or 2026-10-24T12:00+02:00") from None


def upcoming(timing: Trigger, start: datetime, count: int) -> Iterator[str]:
    """A line for each run from `start` on, with its local time and UTC; a clock change in between is named.

    Without a time zone, `start` is in the schedule's.

    Raises:
        StartError: the calendar ends before the first of them.
    """
    zone = zone_of(timing)
    offset: timedelta | None = None
    for due in _runs(timing, start, count):
        now = due.astimezone(zone).utcoffset()
        change = "" if now is None or offset is None or offset == now else _shown_change(now - offset)
        yield f"{shown_local(due, timing)}  {due:%Y-%m-%d %H:%M:%S} UTC{change}"
        offset = now


def _runs(timing: Trigger, start: datetime, count: int) -> Iterator[datetime]:
    has_shown = False
    try:
        first = start.replace(tzinfo=zone_of(timing)).astimezone(UTC) if start.tzinfo is None else start
        for due in islice(timing.after(first - timedelta(microseconds=1)), count):
            yield due
            has_shown = True
    except (OverflowError, ValueError):
        # Python has either of them for a time before the first or after the last one.
        if has_shown:
            return
        end = "beginning" if start.year == 1 else "end"
        raise StartError(f"--from {start.isoformat()} is too near to the {end} of the calendar") from None


def _shown_change(change: timedelta) -> str:
    return f"  (clocks went {'forward' if change > timedelta(0) else 'back'} by {shown_duration(abs(change))})"


@on_broker
async def _kept_timings(broker: StreamBroker, names: Sequence[str]) -> Mapping[str, Trigger]:
    schedules = DurableScheduleSource(broker).schedules
    return {name: (await schedules.get(name)).definition.timing for name in names}
