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
            await _hurry(store, schedules)
            schedules.clear()
    await _hurry(store, schedules)
    await store.accept_clock()


async def _hurry(store: ScheduleStore, schedules: Sequence[StoredSchedule]) -> None:
    # Asked after it was read when they are due: another scheduler may already have sent what this one would repeat.
    now_ms = await store.now_ms()
    sooner = [one for schedule in schedules if (one := _sooner(schedule, now_ms)) is not None]
    if sooner:
        await store.hurry(sooner)


def _sooner(schedule: StoredSchedule, now_ms: int) -> EarlierDue | None:
    if schedule.due_ms is None:
        return None
    try:
        following = next_after(ScheduleDefinition.load(schedule.data), from_ms(now_ms))
    except UnreadableScheduleError:
        return None
    if following is None or to_ms(following) >= schedule.due_ms:
        return None
    return EarlierDue(name=schedule.name, was_due_ms=schedule.due_ms, due_ms=to_ms(following))
