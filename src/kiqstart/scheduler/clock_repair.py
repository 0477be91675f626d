"""What is done where the store's clock was set back: times that come again are sent again."""

from collections.abc import Sequence
from logging import getLogger
from typing import Final

from kiqstart.scheduler.definition import ScheduleDefinition, UnreadableScheduleError
from kiqstart.scheduler.misfires import next_after
from kiqstart.scheduler.occurrence import from_ms, to_ms
from kiqstart.scheduler.store import EarlierDue, ScheduleStore, StoredSchedule

logger = getLogger(__name__)

_AT_ONCE: Final = 200


async def repeat_times(store: ScheduleStore) -> None:
    """Let all schedules be due at their next time, rather than not before it is as late as it was."""
    logger.warning("The clock of the store was set back: times that come again are sent again")
    schedules: list[StoredSchedule] = []
    async for one in store.all():
        schedules.append(one)
        if len(schedules) == _AT_ONCE:
            await _reschedule(store, schedules)
            schedules.clear()
    await _reschedule(store, schedules)
    await store.accept_clock()


async def _reschedule(store: ScheduleStore, schedules: Sequence[StoredSchedule]) -> None:
    # Asked after it was read when they are due: another scheduler may already have sent what this one would repeat.
    now_ms = await store.now_ms()
    earlier = [one for schedule in schedules if (one := _earlier(schedule, now_ms)) is not None]
    if earlier:
        await store.reschedule_earlier(earlier)


def _earlier(schedule: StoredSchedule, now_ms: int) -> EarlierDue | None:
    if schedule.due_ms is None:
        return None
    try:
        following = next_after(ScheduleDefinition.load(schedule.data), from_ms(now_ms))
    except UnreadableScheduleError:
        return None
    if following is None or to_ms(following) >= schedule.due_ms:
        return None
    return EarlierDue(name=schedule.name, was_due_ms=schedule.due_ms, due_ms=to_ms(following))
