"""`kiqstart schedules list`: what is sent by itself, what became of it, and when it is sent next."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from rich.table import Table
from rich.text import Text

from kiqstart.broker.broker import StreamBroker
from kiqstart.cli.application import on_broker
from kiqstart.cli.tables import new_table, print_table
from kiqstart.cli.terminal import echo, echo_json, shown
from kiqstart.operations.schedule_wording import shown_arguments, shown_timing, zone_of
from kiqstart.operations.schedulers import missing_scheduler
from kiqstart.operations.schedules import read_schedules, shown_counts, shown_last, shown_next, who_paused
from kiqstart.scheduler.occurrence import from_ms
from kiqstart.scheduler.overview import Overview
from kiqstart.scheduler.schedules import ScheduleState

# Where the output is no terminal, nobody's window limits it.
_LONGEST_CELL: Final = 400


def run_list(*, limit: int, as_json: bool) -> None:
    """Print the table, and on standard error what is wrong: no scheduler, or schedules that cannot be read."""
    found, results, paused = _look(limit)
    schedules = [*found.table, *found.added]
    if as_json:
        echo_json(_as_json(found, results))
    else:
        if schedules:
            print_table(schedules_table(schedules, results, now=found.now))
        for line in paused:
            echo(shown(line))
        echo(shown_counts(found))
    for name in found.unreadable[:limit]:
        echo(f"kiqstart: schedule {name!r} cannot be read: add it anew, or remove it", err=True)
    if (problem := missing_scheduler(found.heartbeats)) is not None:
        echo(f"kiqstart: {problem}", err=True)


def schedules_table(schedules: Sequence[ScheduleState], results: Mapping[str, str], *, now: datetime) -> Table:
    """Two lines for each schedule; `results` has in a word what became of its last task.

    Times of the past are UTC.
    """
    table = new_table("schedule", "when", "last run", "result", "next run")
    for one in schedules:
        definition = one.definition
        call = " ".join([shown(definition.task), *shown_arguments(definition.args, definition.kwargs)])
        cells = (
            f"{shown(definition.name)[:_LONGEST_CELL]}\n  {call[:_LONGEST_CELL]}",
            "\n  ".join(shown_timing(definition.timing).rsplit(" ", 1))
            if zone_of(definition.timing) is not None
            else shown_timing(definition.timing),
            shown_last(one.last, now),
            results.get(definition.name, "-"),
            shown_next(one, now),
        )
        table.add_row(*(Text(cell) for cell in cells))
    return table


def schedule_as_json(schedule: ScheduleState, result: str) -> dict[str, object]:
    """A schedule as `--json` has it."""
    definition, last = schedule.definition, schedule.last
    return {
        "name": definition.name,
        "task": definition.task,
        "args": list(definition.args),
        "kwargs": dict(definition.kwargs),
        "when": shown_timing(definition.timing),
        "is_in_table": not definition.is_dynamic,
        "is_paused": schedule.is_paused,
        "next": None if schedule.due is None else schedule.due.isoformat(),
        "last": None
        if last is None
        else {
            "due": from_ms(last.due_ms).isoformat(),
            "done": from_ms(last.done_ms).isoformat(),
            "task_id": last.task_id,
            "outcome": last.outcome.value,
            "result": result,
        },
    }


def _as_json(found: Overview, results: Mapping[str, str]) -> dict[str, object]:
    return {
        "schedules": [
            schedule_as_json(one, results.get(one.definition.name, "-")) for one in (*found.table, *found.added)
        ],
        "active": found.active,
        "paused": found.paused,
        "unreadable": list(found.unreadable),
        "schedulers": found.heartbeats.living,
        "seconds_since_poll": found.heartbeats.seconds_since_any,
    }


@on_broker
async def _look(broker: StreamBroker, limit: int) -> tuple[Overview, Mapping[str, str], Sequence[str]]:
    found, results = await read_schedules(broker, limit)
    paused = [one for one in (*found.table, *found.added) if one.is_paused]
    return found, results, await who_paused(broker, paused)
