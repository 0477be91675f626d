"""`kiqstart schedules list`: what is sent by itself, what became of it, and when it is sent next."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text
from taskiq import AsyncResultBackend
from taskiq.exceptions import ResultGetError

from kiqstart.cli.application import stream_broker
from kiqstart.cli.schedules.schedulers import missing_scheduler
from kiqstart.cli.schedules.wording import shown_arguments, shown_seconds, shown_timing, zone_of
from kiqstart.cli.terminal import echo, shown
from kiqstart.scheduler.occurrence import from_ms
from kiqstart.scheduler.overview import Overview, overview
from kiqstart.scheduler.schedules import ScheduleState
from kiqstart.scheduler.source import DurableScheduleSource
from kiqstart.scheduler.store import LastStep, Outcome

# Where the output is no terminal, nobody's window limits it.
_WIDTH_OF_A_FILE: Final = 200
_LONGEST_CELL: Final = 400
# What is due for longer than a scheduler needs to notice it.
_OVERDUE: Final = timedelta(seconds=1)


def run_list(*, limit: int) -> None:
    """Print the table, and on standard error what is wrong: no scheduler, or schedules that cannot be read."""
    found, results = asyncio.run(_look(limit))
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH_OF_A_FILE)
    schedules = [*found.table, *found.added]
    if schedules:
        console.print(schedules_table(schedules, results, now=found.now))
    echo(shown_counts(found))
    for name in found.unreadable[:limit]:
        echo(f"kiqstart: schedule {name!r} cannot be read: add it anew, or remove it", err=True)
    if (problem := missing_scheduler(found.heartbeats)) is not None:
        echo(f"kiqstart: {problem}", err=True)


def schedules_table(schedules: Sequence[ScheduleState], results: Mapping[str, str], *, now: datetime) -> Table:
    """Two lines for each schedule; `results` has in a word what became of its last task.

    Times of the past are UTC.
    """
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), expand=True)
    # This one gives way to a narrow window, without losing a letter of a name.
    table.add_column("schedule", overflow="fold", ratio=1)
    for title in ("when", "last run", "result", "next run"):
        table.add_column(title, no_wrap=True)
    for one in schedules:
        definition = one.definition
        call = " ".join([shown(definition.task), *shown_arguments(definition.args, definition.kwargs)])
        cells = (
            f"{shown(definition.name)[:_LONGEST_CELL]}\n  {call[:_LONGEST_CELL]}",
            "\n  ".join(shown_timing(definition.timing).rsplit(" ", 1))
            if zone_of(definition.timing) is not None
            else shown_timing(definition.timing),
            _shown_last(one.last, now),
            results.get(definition.name, "-"),
            _shown_next(one, now),
        )
        table.add_row(*(Text(cell) for cell in cells))
    return table


def shown_counts(found: Overview) -> str:
    """How many schedules are shown, how many there are, and how many of these are paused."""
    total = found.active + found.paused
    listed = len(found.table) + len(found.added)
    return f"{listed} of {max(total, listed)} schedules" + (f", {found.paused} paused" if found.paused else "")


async def shown_result(
    backend: AsyncResultBackend[Any], last: LastStep | None, *, now: datetime, result_ttl: timedelta
) -> str:
    """What became of the last task: `ok` or `error`; `waiting` while it waits or runs; `expired`: nobody knows now.

    It is `unreadable` if what is kept of it is no result.
    """
    if last is None or last.outcome is not Outcome.SENT:
        return "-"
    if not await backend.is_result_ready(last.task_id):
        return "expired" if now - from_ms(last.done_ms) > result_ttl else "waiting"
    try:
        return "error" if (await backend.get_result(last.task_id)).is_err else "ok"
    except ResultGetError:
        return "unreadable"


def _shown_last(last: LastStep | None, now: datetime) -> str:
    if last is None:
        return "-"
    late = shown_seconds(max(last.done_ms - last.due_ms, 0) / 1000)
    return f"{_shown_time(from_ms(last.due_ms), now)} UTC\n{last.outcome.value}, {late} late"


def _shown_next(schedule: ScheduleState, now: datetime) -> str:
    if schedule.is_paused:
        return "paused"
    if schedule.due is None:
        return "-"
    in_utc = f"{_shown_time(schedule.due, now)} UTC"
    if now - schedule.due > _OVERDUE:
        return f"{in_utc}\n{shown_seconds((now - schedule.due).total_seconds())} overdue"
    local = schedule.due.astimezone(zone_of(schedule.definition.timing))
    is_utc = local.utcoffset() == timedelta(0)
    return in_utc if is_utc else f"{in_utc}\n{_shown_time(local, now)} {local:%Z}"


def _shown_time(time: datetime, now: datetime) -> str:
    is_this_year = time.year == now.astimezone(UTC).year
    return f"{time:%m-%d %H:%M:%S}" if is_this_year else f"{time:%Y-%m-%d %H:%M:%S}"


async def _look(limit: int) -> tuple[Overview, Mapping[str, str]]:
    async with stream_broker() as broker:
        result_ttl = timedelta.max if broker.result_ttl is None else timedelta(seconds=broker.result_ttl)
        found = await overview(DurableScheduleSource(broker).store, limit=limit)
        results = {
            one.definition.name: await shown_result(
                broker.result_backend, one.last, now=found.now, result_ttl=result_ttl
            )
            for one in (*found.table, *found.added)
        }
    return found, results
