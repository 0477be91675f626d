"""The schedules that are due, as one scheduler knows them: read once, and those that it cannot read skipped."""

from dataclasses import dataclass
from itertools import islice
from logging import getLogger
from typing import Final

from redis.exceptions import ResponseError

from kiqstart.broker.redis_retry import reason
from kiqstart.scheduler.clock import StoreClock
from kiqstart.scheduler.due import DueMark, DueSchedule, Poll
from kiqstart.scheduler.log_text import one_line
from kiqstart.scheduler.redis_encoding import sha1
from kiqstart.scheduler.store import LARGEST, ScheduleStore

logger = getLogger(__name__)

PAGE_SIZE: Final = 1000
"""How many schedules are read at a time. A poll is cheap even if many are due."""
# What was read is read again after so long, a few at a time: somebody may have put it right.
_SECONDS_KNOWN: Final = 5.0
_READ_AGAIN: Final = 100
# So long an overdue schedule that this scheduler cannot read is left to those that may be able to.
_SECONDS_FOR_OTHERS: Final = 600.0
# How many are remembered as told; one that newer schedulers send would be told with each of its times.
_REMEMBERED: Final = 10_000


@dataclass(kw_only=True)
class _Known:
    mark: DueMark
    sha1: str
    read_at: float
    schedule: DueSchedule | None
    """None: it cannot be read here."""
    unreadable_since: float = 0.0


class Backlog:
    """Reads the definitions of what is due.

    What this scheduler cannot read may be a schedule of a later version, so it is left to others, and set aside only
    when it has been overdue for ten minutes in which nobody has sent it.

    Args:
        clock: tells how long a schedule has been watched.
    """

    def __init__(self, store: ScheduleStore, clock: StoreClock) -> None:
        self._store = store
        self._clock = clock
        # In the order in which they were read.
        self._known: dict[str, _Known] = {}
        self._told: dict[str, str] = {}
        self.is_complete = True
        """Whether all that is due was read; else there is more to do at once."""

    async def read(self, poll: Poll) -> list[DueSchedule]:
        """All that is due, or will be soon, and can be read, as far as it can be read at once; the earliest first."""
        marks, self.is_complete = await self._marks(poll)
        if self.is_complete:
            self._known = {name: one for name, one in self._known.items() if name in marks}
        await self._read([mark for mark in marks.values() if not self._is_known(mark)])
        await self._read_again()
        found = [self._known[name] for name, mark in marks.items() if self._is_known(mark)]
        return [one.schedule for one in found if one.schedule is not None]

    def forget(self, name: str) -> None:
        """A schedule is another one than was thought."""
        self._known.pop(name, None)

    def skip(self, due: DueSchedule, problem: str) -> None:
        """Leave a schedule that cannot be read to others."""
        known = self._known.get(due.name)
        if known is not None and known.schedule == due:
            self._skip(known, problem)

    async def set_aside(self, now_ms: int) -> None:
        """Take schedules that nobody has sent for ten minutes out of the way."""
        now = self._clock.steady()
        for one in list(self._known.values()):
            is_watched = one.schedule is None and now - one.unreadable_since >= _SECONDS_FOR_OTHERS
            if is_watched and one.mark.due_ms <= now_ms:
                one.unreadable_since = now
                if await self._set_aside(one.mark, one.sha1):
                    logger.error("Schedule %s is set aside: nobody has sent it", one_line(one.mark.name))
                    self.forget(one.mark.name)

    async def _marks(self, poll: Poll) -> tuple[dict[str, DueMark], bool]:
        """What is due, up to as many new ones as are read at a time, and whether that is all."""
        page, start = poll.page, 0
        marks: dict[str, DueMark] = {}
        new = 0
        while True:
            marks.update((mark.name, mark) for mark in page.marks)
            new += sum(not self._is_known(mark) for mark in page.marks)
            if page.is_last or new >= PAGE_SIZE:
                return marks, page.is_last
            start += len(page.marks)
            page = await self._store.page(poll.now_ms, start, PAGE_SIZE)

    def _is_known(self, mark: DueMark) -> bool:
        known = self._known.get(mark.name)
        return known is not None and known.mark == mark

    async def _read(self, marks: list[DueMark]) -> None:
        found = await self._store.definitions([mark.name for mark in marks])
        if len(found) < len(marks):
            self.is_complete = False
        now = self._clock.steady()
        for mark, data in zip(marks, found, strict=False):
            if data is None:
                await self._set_aside(mark, "")
            else:
                self._take_in(mark, data, now)

    async def _set_aside(self, mark: DueMark, sha1: str) -> bool:
        try:
            return await self._store.set_aside(mark, sha1) is True
        except ResponseError as error:
            # It is in nobody's way.
            logger.warning("Schedule %s cannot be set aside: %s", one_line(mark.name), reason(error))
            return False

    async def _read_again(self) -> None:
        now = self._clock.steady()
        first = list(islice(self._known.values(), _READ_AGAIN))
        old = [one for one in first if now - one.read_at > _SECONDS_KNOWN]
        for one, data in zip(old, await self._store.definitions([one.mark.name for one in old]), strict=False):
            self.forget(one.mark.name)
            if data is not None and _sha1(data) == one.sha1:
                one.read_at = now
                self._known[one.mark.name] = one
            elif data is not None:
                self._take_in(one.mark, data, now)

    def _take_in(self, mark: DueMark, data: bytes | int, now: float) -> None:
        known = _Known(mark=mark, sha1=_sha1(data), read_at=now, schedule=None)
        self.forget(mark.name)
        self._known[mark.name] = known
        if isinstance(data, int):
            self._skip(known, f"it has {data} bytes, of which {LARGEST} are possible")
        else:
            known.schedule = DueSchedule(name=mark.name, due_ms=mark.due_ms, score=mark.score, data=data)

    def _skip(self, known: _Known, problem: str) -> None:
        known.schedule, known.unreadable_since = None, self._clock.steady()
        name = known.mark.name
        if self._told.get(name) != known.sha1:
            logger.error(
                "Schedule %s cannot be read here and is left to other schedulers: %s", one_line(name), one_line(problem)
            )
        if len(self._told) >= _REMEMBERED:
            self._told.clear()
        self._told[name] = known.sha1


def _sha1(data: bytes | int) -> str:
    return sha1(b"" if isinstance(data, int) else data)
