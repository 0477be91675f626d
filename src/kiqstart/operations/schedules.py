"""Schedules as an operator looks at them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from taskiq import AsyncResultBackend
from taskiq.exceptions import ResultGetError, SendTaskError

from kiqstart.broker.acts import MOST_KEPT, ActKind, Acts, RecordedAct
from kiqstart.broker.broker import StreamBroker
from kiqstart.errors import OperatorError
from kiqstart.operations.numbers import counted
from kiqstart.operations.schedule_wording import shown_seconds, zone_of
from kiqstart.scheduler.occurrence import from_ms
from kiqstart.scheduler.overview import Overview, overview
from kiqstart.scheduler.schedules import Schedules, ScheduleState
from kiqstart.scheduler.source import DurableScheduleSource
from kiqstart.scheduler.store import LastStep, Outcome
from kiqstart.tasks.errors import InvalidTaskArgumentsError

# What is due for longer than a scheduler needs to notice it.
_OVERDUE: Final = timedelta(seconds=1)


class NotSentError(OperatorError):
    """A schedule's task was not sent."""


async def send_now(schedules: Schedules, name: str) -> str:
    """Send a schedule's task now, beside its own times; gives the task's id.

    Raises:
        NotSentError: it was not sent.
        ScheduleError: there is no such schedule, or another task has its unique key.
    """
    try:
        return await schedules.run(name)
    except (SendTaskError, InvalidTaskArgumentsError) as error:
        raise NotSentError(f"schedule {name!r}: {error}") from None


async def read_schedules(broker: StreamBroker, limit: int) -> tuple[Overview, Mapping[str, str]]:
    """The table's schedules and `limit` others at most, and in a word what became of the last task of each."""
    result_ttl = timedelta.max if broker.result_ttl is None else timedelta(seconds=broker.result_ttl)
    found = await overview(DurableScheduleSource(broker).store, broker, limit=limit)
    results = {
        one.definition.name: await shown_result(broker.result_backend, one.last, now=found.now, result_ttl=result_ttl)
        for one in (*found.table, *found.added)
    }
    return found, results


async def who_paused(broker: StreamBroker, paused: Sequence[ScheduleState]) -> list[str]:
    """Of each paused schedule who has paused it, when and why, as far as the log of acts knows."""
    names = {one.definition.name for one in paused}
    if not names:
        return []
    last: dict[str, RecordedAct] = {}
    for act in await Acts(broker.connection.redis, broker.keys).newest(MOST_KEPT):
        if act.kind in (ActKind.PAUSE_SCHEDULE, ActKind.RESUME_SCHEDULE) and act.target in names:
            last.setdefault(act.target, act)
    now = datetime.now(UTC)
    # What was resumed last has been paused by a program since, which is no act.
    acts = [act for _, act in sorted(last.items()) if act.kind == ActKind.PAUSE_SCHEDULE]
    return [_said_of_pause(act, now) for act in acts]


def _said_of_pause(act: RecordedAct, now: datetime) -> str:
    lasts = shown_seconds(max((now - act.at).total_seconds(), 0.0))
    words = f"the schedule {act.target!r} is paused for {lasts}, by {act.by.user}@{act.by.host}"
    return f"{words}: {act.reason}" if act.reason else words


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


def shown_last(last: LastStep | None, now: datetime) -> str:
    """When it was due last, and in a second line what was done how late."""
    if last is None:
        return "-"
    late = shown_seconds(max(last.done_ms - last.due_ms, 0) / 1000)
    return f"{_shown_time(from_ms(last.due_ms), now)} UTC\n{last.outcome.value}, {late} late"


def shown_next(schedule: ScheduleState, now: datetime) -> str:
    """When it is due next, in UTC; in a second line how overdue it is, or the time in its zone."""
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


def shown_counts(found: Overview) -> str:
    """How many schedules are shown, how many there are, and how many of these are paused."""
    total = found.active + found.paused
    listed = len(found.table) + len(found.added)
    return f"{listed} of {counted(max(total, listed), 'schedule')}" + (
        f", {found.paused} paused" if found.paused else ""
    )


def _shown_time(time: datetime, now: datetime) -> str:
    is_this_year = time.year == now.astimezone(UTC).year
    return f"{time:%m-%d %H:%M:%S}" if is_this_year else f"{time:%Y-%m-%d %H:%M:%S}"
