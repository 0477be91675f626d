"""What a scheduler does: polls for what is due, and takes the steps that there are."""

import hashlib
from collections.abc import Sequence
from logging import getLogger
from typing import Final
from uuid import uuid4

from redis.exceptions import ResponseError
from taskiq import AsyncBroker

from kiqstart.broker.redis_retry import is_outage, reason
from kiqstart.scheduler.backlog import PAGE_SIZE, Backlog
from kiqstart.scheduler.clock import StoreClock
from kiqstart.scheduler.clock_repair import repeat_times
from kiqstart.scheduler.definition import ScheduleDefinition
from kiqstart.scheduler.due import DueSchedule, Poll
from kiqstart.scheduler.firing import Outcome
from kiqstart.scheduler.message_builder import MessageBuilder
from kiqstart.scheduler.occurrence import from_ms, to_ms
from kiqstart.scheduler.scheduler_stats import SchedulerStats
from kiqstart.scheduler.sealed_definitions import dump_sealed
from kiqstart.scheduler.step_taker import StepTaker, is_passing
from kiqstart.scheduler.store import Entry, ScheduleStore

logger = getLogger(__name__)

# How long a superseded scheduler waits for a newer one to restore the schedules after Redis lost its data.
_SECONDS_FOR_A_NEWER_ONE: Final = 5.0
# How long a new schedule, or a change of one, may take to be noticed.
_POLL_INTERVAL: Final = 0.5
# So much later each scheduler polls than the one before it, which thus does the work while it lives.
_SECONDS_BEHIND: Final = 0.05
_MOST_BEHIND: Final = 0.25
# A table that is in effect is put into effect again that often, which changes nothing where all is well.
_SECONDS_BETWEEN_REPAIRS: Final = 60.0
_SECONDS_BETWEEN_TRIES: Final = 5.0


class SchedulerLoop:
    """Takes the steps of all schedules that are due, side by side with any number of other schedulers.

    Args:
        broker: makes the messages.
        table: the schedules that the first tick puts into effect.
        clock: learns the store's time.
        send_deadline: seconds for which a message that cannot be made or sent is tried.
        name: by which other schedulers know this one.
        stats: counts what becomes of due times; None where nobody does.
    """

    def __init__(
        self,
        broker: AsyncBroker,
        store: ScheduleStore,
        table: Sequence[ScheduleDefinition],
        *,
        clock: StoreClock,
        send_deadline: float,
        name: str | None = None,
        stats: SchedulerStats | None = None,
    ) -> None:
        self._broker = broker
        self._store = store
        self._table = table
        self._data = {definition.name: dump_sealed(definition, broker) for definition in table}
        self._table_id = hashlib.sha256(b"\n".join(sorted(self._data.values()))).hexdigest()
        self._is_table_set = False
        self._set_at = 0.0
        self._refusal = ""
        self._is_superseded = False
        self._clock = clock
        self._attempts = MessageBuilder(broker, deadline=send_deadline)
        self._backlog = Backlog(store, clock)
        self._name = name or uuid4().hex
        self._steps = StepTaker(broker, store, name=self._name, deadline=send_deadline, stats=stats)
        # What a store that has lost its data is told: nothing was due at the last poll but this.
        self._polled_ms: int | None = None
        self._due_ms: dict[str, int] = {}
        self._lost_since: float | None = None
        # A store that knows only earlier tables than this one was restored.
        self._number = 0

    async def tick(self) -> float:
        """Poll once, and take what steps there are; gives the seconds until there may be more to do."""
        await self._steps.catch_up()
        if not self._is_table_set:
            await self._set_table(await self._store.now_ms())
        poll = await self._poll()
        if poll.is_set_back:
            await repeat_times(self._store)
            return 0.0
        if self._is_lost(poll) and not self._leaves_it_to_a_newer_one():
            poll = await self._restore(poll)
        if not self._is_lost(poll):
            await self._compare_tables(poll)
        due = await self._backlog.read(poll)
        self._remember(poll, due)
        followings = await self._take_steps(due, poll.now_ms)
        await self._backlog.set_aside(poll.now_ms)
        return self._pause(poll, followings)

    async def leave(self) -> None:
        """Do no more, and let the others know."""
        self._attempts.cancel()
        self._steps.cancel()
        await self._store.leave(self._name)

    async def _set_table(self, now_ms: int, *, instead_of: str = "") -> None:
        """Put the table into effect; where that is refused for good, go on with what is in effect, and try it later."""
        if self._refusal and self._clock.steady() - self._set_at < _SECONDS_BETWEEN_TRIES:
            return
        since = from_ms(now_ms if self._polled_ms is None else min(self._polled_ms, now_ms))
        entries: list[Entry] = []
        for definition in self._table:
            following = definition.timing.next_after(since)
            due = self._due_ms.get(definition.name, None if following is None else to_ms(following))
            entries.append(Entry(name=definition.name, data=self._data[definition.name], due_ms=due))
        self._set_at = self._clock.steady()
        try:
            await self._store.set_table(self._table_id, entries, instead_of=instead_of, after_number=self._number)
        except ResponseError as error:
            if is_outage(error) and not instead_of:
                raise
            if reason(error) != self._refusal:
                logger.error("The table of schedules is not put into effect, trying again: %s", reason(error))  # noqa: TRY400  # Redis' text says it
            self._refusal = reason(error)
            return
        self._is_table_set, self._refusal = True, ""

    async def _poll(self) -> Poll:
        began = self._clock.steady()
        poll = await self._store.poll(self._name, PAGE_SIZE)
        self._clock.observe(poll.now_ms, began)
        return poll

    def _is_lost(self, poll: Poll) -> bool:
        """Whether the store knows no table, or one that is older than others that this scheduler has seen there."""
        return poll.table is None or (poll.table != self._table_id and poll.table_number < self._number)

    async def _restore(self, poll: Poll) -> Poll:
        """Put the table into effect again, and poll again; where that was of no use, what there is is sent."""
        await self._set_table(poll.now_ms)
        poll = await self._poll()
        if not self._is_lost(poll):
            logger.warning("Redis had lost the schedules; those of the table are in effect again")
        return poll

    async def _compare_tables(self, poll: Poll) -> None:
        is_own = poll.table == self._table_id
        self._lost_since = None
        self._number = max(poll.table_number, self._number)
        if not is_own and not self._is_superseded:
            logger.warning("A scheduler that was started later has another table, which is in effect here too")
        self._is_superseded = not is_own
        if is_own and self._clock.steady() - self._set_at > _SECONDS_BETWEEN_REPAIRS:
            # An older scheduler may have set aside what it could not read, or somebody has deleted a key.
            await self._set_table(poll.now_ms, instead_of=self._table_id)

    def _leaves_it_to_a_newer_one(self) -> bool:
        if not self._is_superseded:
            return False
        now = self._clock.steady()
        self._lost_since = self._lost_since or now
        return now - self._lost_since < _SECONDS_FOR_A_NEWER_ONE

    def _remember(self, poll: Poll, due: Sequence[DueSchedule]) -> None:
        if not self._is_lost(poll):
            self._polled_ms = poll.now_ms
            pending = [one for one in due if one.due_ms <= poll.now_ms and self._data.get(one.name) == one.data]
            self._due_ms = {one.name: one.due_ms for one in pending}

    async def _take_steps(self, due: Sequence[DueSchedule], now_ms: int) -> list[int]:
        """Take what steps there are; gives when these schedules are due next."""
        firings = await self._attempts.firings(due, now_ms)
        for one, problem in self._attempts.unreadable.values():
            self._backlog.skip(one, problem)
        followings: list[int] = []
        refused: set[str] = set()
        for firing, answer in await self._steps.take(firings, now_ms):
            name = firing.due.name
            if name in refused:
                # Its further steps began where this one did not end.
                continue
            if answer.outcome is Outcome.REFUSED:
                refused.add(name)
                put_off = self._attempts.postpone if is_passing(answer) else self._attempts.fail
                put_off(firing, answer.detail)
                continue
            self._due_ms.pop(name, None)
            followings += [] if firing.following_ms is None else [firing.following_ms]
            if answer.outcome is Outcome.LOST:
                self._attempts.forget(name)
                self._backlog.forget(name)
        return followings

    def _pause(self, poll: Poll, followings: Sequence[int]) -> float:
        if not self._backlog.is_complete:
            return 0.0
        times = [*followings, *([] if poll.next_due_ms is None else [poll.next_due_ms])]
        behind = min(sum(one < self._name for one in poll.schedulers) * _SECONDS_BEHIND, _MOST_BEHIND)
        seconds = self._clock.seconds_until(min(times)) + behind if times else _POLL_INTERVAL
        return min(max(seconds, 0.0), _POLL_INTERVAL)
