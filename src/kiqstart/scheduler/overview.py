"""What an operator looks at: schedules with their state, and whether anybody sends them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from taskiq import AsyncBroker

from kiqstart.scheduler.definition import UnreadableScheduleError
from kiqstart.scheduler.occurrence import from_ms
from kiqstart.scheduler.schedules import ScheduleState
from kiqstart.scheduler.store import Heartbeats, ScheduleStore


@dataclass(frozen=True, kw_only=True)
class Overview:
    """The schedules of the table, some of the others, and how many there are.

    Args:
        now: the store's time.
        table: the schedules of the table, by name.
        added: some of the others: the paused ones first, then those that are due soonest.
        active: how many schedules have a time.
        paused: how many are paused.
        unreadable: names of those that cannot be read.
        seconds_overdue: by how much the first of all that are due is late; 0 where none is.
        heartbeats: which schedulers poll.
    """

    now: datetime
    table: Sequence[ScheduleState]
    added: Sequence[ScheduleState]
    active: int
    paused: int
    unreadable: Sequence[str]
    seconds_overdue: float
    heartbeats: Heartbeats


async def overview(store: ScheduleStore, broker: AsyncBroker, *, limit: int) -> Overview:
    """Look at all schedules of the table, and at `limit` others at most; the broker's keys say which can be read."""
    summary = await store.summary(limit)
    unreadable = list(summary.set_aside)
    kept: dict[str, ScheduleState] = {}
    for stored in (*summary.table, *summary.added):
        try:
            kept[stored.name] = ScheduleState.read(stored, broker)
        except UnreadableScheduleError:
            unreadable.append(stored.name)
    first = summary.now_ms if summary.first_due_ms is None else summary.first_due_ms
    return Overview(
        now=from_ms(summary.now_ms),
        table=[kept[stored.name] for stored in summary.table if stored.name in kept],
        added=[kept[stored.name] for stored in summary.added if stored.name in kept],
        active=summary.active,
        paused=summary.paused,
        unreadable=list(dict.fromkeys(unreadable)),
        seconds_overdue=max(summary.now_ms - first, 0) / 1000,
        heartbeats=await store.heartbeats(),
    )
