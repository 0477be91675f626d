"""What a scheduler does: looks at what is due, and takes the steps that there are."""

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import timedelta
from logging import getLogger
from typing import Final
from uuid import uuid4

from taskiq import AsyncBroker, BrokerMessage

from kiqstart.infrastructure.taskiq.scheduling.attempts import Attempts
from kiqstart.infrastructure.taskiq.scheduling.clock import StoreClock
from kiqstart.infrastructure.taskiq.scheduling.definition import Definition, UnreadableScheduleError
from kiqstart.infrastructure.taskiq.scheduling.occurrence import LATE, after_occurrence, from_ms, time_text, to_ms
from kiqstart.infrastructure.taskiq.scheduling.store import (
    Answer,
    Entry,
    Firing,
    Look,
    Outcome,
    ScheduleStore,
    Sooner,
    StoredSchedule,
)

logger = getLogger(__name__)

# A look is cheap even if many are due; a script of many steps keeps Redis from others.
_LOOKED_AT: Final = 1000
_AT_ONCE: Final = 200
# So long a scheduler whose table was replaced waits for those that know the new one, where Redis has lost it.
_SECONDS_FOR_A_NEWER_ONE: Final = 5.0
# How long a new schedule, or a change of one, may take to be noticed.
_SECONDS_BETWEEN_LOOKS: Final = 0.5
# So much later each scheduler looks than the one before it, which thus does the work while it lives.
_SECONDS_BEHIND: Final = 0.05
# A table that is in effect is put into effect again that often, which changes nothing where all is well.
_SECONDS_BETWEEN_REPAIRS: Final = 60.0


class Ticker:
    """Takes the steps of all schedules that are due, side by side with any number of other tickers.

    Args:
        broker: makes the messages.
        table: the schedules that the first tick puts into effect.
        clock: learns the store's time.
        send_deadline: seconds for which a message that cannot be made or sent is tried.
        name: by which other schedulers know this one.
    """

    def __init__(
        self,
        broker: AsyncBroker,
        store: ScheduleStore,
        table: Sequence[Definition],
        *,
        clock: StoreClock,
        send_deadline: float,
        name: str | None = None,
    ) -> None:
        self._broker = broker
        self._store = store
        self._table = table
        self._data = {definition.name: definition.dump() for definition in table}
        self._table_id = hashlib.sha256(b"\n".join(sorted(self._data.values()))).hexdigest()
        self._is_table_set = False
        self._set_at = 0.0
        self._is_superseded = False
        self._clock = clock
        self._attempts = Attempts(broker, deadline=send_deadline)
        self._telling: set[asyncio.Task[None]] = set()
        self._name = name or uuid4().hex
        # What a store that has lost its data is told: nothing was due at the last look but this.
        self._looked_ms: int | None = None
        self._due_ms: dict[str, int] = {}
        self._lost_since: float | None = None

    async def tick(self) -> float:
        """Look once, and take what steps there are; gives the seconds until there may be more to do.

        Raises:
            RedisError: Redis is away.
        """
        if not self._is_table_set:
            await self._set_table(await self._store.now_ms())
        began = self._clock.steady()
        look = await self._store.look(self._name, _LOOKED_AT + len(self._attempts))
        self._clock.observe(look.now_ms, began)
        if look.is_set_back:
            await self._repeat_times()
            return 0.0
        if not await self._is_in_effect(look):
            return 0.0
        followings = await self._take_steps(look)
        return self._pause(look, followings)

    async def leave(self) -> None:
        """Do no more, and let the others know."""
        self._attempts.cancel()
        for telling in self._telling:
            telling.cancel()
        await self._store.leave(self._name)

    async def _set_table(self, now_ms: int, *, instead_of: str = "") -> None:
        since = from_ms(now_ms if self._looked_ms is None else min(self._looked_ms, now_ms))
        entries: list[Entry] = []
        for definition in self._table:
            following = definition.timing.next_after(since)
            due = self._due_ms.get(definition.name, None if following is None else to_ms(following))
            entries.append(Entry(name=definition.name, data=self._data[definition.name], due_ms=due))
        await self._store.set_table(self._table_id, entries, instead_of=instead_of)
        self._is_table_set = True
        self._set_at = self._clock.steady()

    async def _is_in_effect(self, look: Look) -> bool:
        if look.table is None:
            if self._leaves_it_to_a_newer_one():
                return True
            await self._set_table(look.now_ms)
            logger.warning("Redis had lost the schedules; those of the table are in effect again")
            return False
        self._lost_since = None
        pending = [one for one in look.due if one.due_ms <= look.now_ms and self._data.get(one.name) == one.data]
        self._looked_ms, self._due_ms = look.now_ms, {one.name: one.due_ms for one in pending}
        is_superseded = look.table != self._table_id
        if is_superseded and not self._is_superseded:
            logger.warning("A scheduler that was started later has another table, which is in effect here too")
        self._is_superseded = is_superseded
        if not is_superseded and self._clock.steady() - self._set_at > _SECONDS_BETWEEN_REPAIRS:
            # An older scheduler may have set aside what it could not read, or somebody has deleted a key.
            await self._set_table(look.now_ms, instead_of=self._table_id)
        return True

    def _leaves_it_to_a_newer_one(self) -> bool:
        if not self._is_superseded:
            return False
        now = self._clock.steady()
        self._lost_since = self._lost_since or now
        return now - self._lost_since < _SECONDS_FOR_A_NEWER_ONE

    async def _take_steps(self, look: Look) -> list[int]:
        firings = await self._attempts.firings(look.due, look.now_ms)
        for due in self._attempts.unreadable:
            await self._store.set_aside(due)
        answers: list[Answer] = []
        for place in range(0, len(firings), _AT_ONCE):
            answers += await self._store.fire(firings[place : place + _AT_ONCE])
        followings: list[int] = []
        for firing, answer in zip(firings, answers, strict=True):
            self._note(firing, answer, look.now_ms)
            if answer.outcome is not Outcome.REFUSED:
                self._due_ms.pop(firing.due.name, None)
                followings += [] if firing.following_ms is None else [firing.following_ms]
        return followings

    def _note(self, firing: Firing, answer: Answer, now_ms: int) -> None:
        name, message = firing.due.name, firing.message
        time = time_text(from_ms(firing.send_ms or firing.expected_ms))
        match answer.outcome:
            case Outcome.SENT if message is not None:
                late = timedelta(milliseconds=now_ms - (firing.send_ms or now_ms))
                how = f", {late.total_seconds():.1f} s late" if late > LATE else ""
                logger.info("Sent task %s with id %s%s", message.task_name, message.task_id, how)
                self._tell(message)
            case Outcome.HELD:
                logger.info("Schedule %s is not sent for %s: task %s has its key", name, time, answer.detail)
            case Outcome.SKIPPED:
                logger.warning("Schedule %s was missed at %s and is not made up", name, time)
            case Outcome.REFUSED:
                self._attempts.fail(firing, answer.detail)
            case _:
                pass

    def _tell(self, sent: BrokerMessage) -> None:
        # In a task of its own: a middleware that hangs holds nothing up.
        telling = asyncio.create_task(after_occurrence(self._broker, sent))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)

    async def _repeat_times(self) -> None:
        """The clock was set back: times that come again are sent again, rather than nothing until it is as late."""
        logger.warning("The clock of the store was set back: times that come again are sent again")
        schedules: list[StoredSchedule] = []
        async for one in self._store.all():
            schedules.append(one)
            if len(schedules) == _AT_ONCE:
                await self._hurry(schedules)
                schedules.clear()
        await self._hurry(schedules)
        await self._store.accept_clock()

    async def _hurry(self, schedules: Sequence[StoredSchedule]) -> None:
        # Asked after it was read when they are due: another scheduler may already have sent what this one would repeat.
        now = from_ms(await self._store.now_ms())
        sooner: list[Sooner] = []
        for one in schedules:
            try:
                following = Definition.load(one.data).timing.next_after(now)
            except UnreadableScheduleError:
                continue
            if following is not None and one.due_ms is not None and to_ms(following) < one.due_ms:
                sooner.append(Sooner(name=one.name, was_due_ms=one.due_ms, due_ms=to_ms(following)))
        if sooner:
            await self._store.hurry(sooner)

    def _pause(self, look: Look, followings: Sequence[int]) -> float:
        if len(look.due) >= _LOOKED_AT and look.due[-1].due_ms <= look.now_ms:
            return 0.0
        times = [*followings, *([] if look.next_due_ms is None else [look.next_due_ms])]
        behind = sorted(look.schedulers).index(self._name) * _SECONDS_BEHIND
        seconds = self._clock.seconds_until(min(times)) + behind if times else _SECONDS_BETWEEN_LOOKS
        return min(max(seconds, 0.0), _SECONDS_BETWEEN_LOOKS)
