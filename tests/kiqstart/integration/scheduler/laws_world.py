"""Schedulers with a clock that the test sets, beside what they are expected to do."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import uuid4

from redis.exceptions import ConnectionError as LostConnectionError
from taskiq import InMemoryBroker
from tests.kiqstart.integration.scheduler.expected_sends import Decision, ExpectedSends, Kept, Plan
from tests.kiqstart.integration.scheduler.scenarios import SPAN, Event, Kind, Scenario, plan_of

from kiqstart.scheduler.clock import StoreClock
from kiqstart.scheduler.conversions import ScheduleError
from kiqstart.scheduler.definition import ScheduleDefinition, UnreadableScheduleError
from kiqstart.scheduler.due import DueSchedule
from kiqstart.scheduler.firing import FireRequest, FireResult, FireScript
from kiqstart.scheduler.occurrence import to_ms
from kiqstart.scheduler.scheduler_loop import SchedulerLoop
from kiqstart.scheduler.schedules import Schedules
from kiqstart.scheduler.store import Entry, ScheduleStore

Store = Callable[[Callable[[], int]], ScheduleStore]
FireTime = Callable[[], Awaitable[None]]
_UNREADABLE = ("table-0", "added-0")
_NO_DEADLINE = 1e9


class Faults:
    """What happens to a scheduler on its way to the store."""

    def __init__(self) -> None:
        self.loses_answer = False
        self.loses_request = False
        self.repeats = False
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.is_at_fire = asyncio.Event()


def faulty(store: ScheduleStore, faults: Faults) -> ScheduleStore:
    """The store, as one scheduler reaches it."""

    async def fire(script: FireScript) -> list[FireResult]:
        faults.is_at_fire.set()
        await faults.thawed.wait()
        if faults.loses_request:
            raise LostConnectionError("the request is lost")
        answers = await store.fire(script)
        if faults.repeats:
            answers = await store.fire(script)
        if faults.loses_answer:
            raise LostConnectionError("the answer is lost")
        return answers

    class Faulty:
        def __getattr__(self, name: str) -> object:
            return fire if name == "fire" else getattr(store, name)

    return Faulty()  # type: ignore[return-value]  # it has all of the store's


def make_older(ticker: SchedulerLoop) -> None:
    """Let a ticker be of a version that cannot read some schedules."""
    make = ticker._attempts._make

    async def make_some(due: DueSchedule, now_ms: int) -> list[FireRequest]:
        if due.name in _UNREADABLE:
            raise UnreadableScheduleError("it is of a later version")
        return await make(due, now_ms)

    ticker._attempts._make = make_some  # type: ignore[method-assign]


def id_of(table: Mapping[str, Plan]) -> frozenset[bytes]:
    """By which two tables are the same."""
    return frozenset(plan.definition.dump() for plan in table.values())


@dataclass(frozen=True)
class Snapshot:
    """What Redis comes back with."""

    expected: ExpectedSends
    in_effect: dict[str, Plan] | None
    number: int


@dataclass(eq=False)
class Scheduler:
    """One ticker, and what it knows."""

    ticker: SchedulerLoop
    faults: Faults
    table: dict[str, Plan]
    looked: int | None = None
    pending: dict[str, int] = field(default_factory=dict[str, int])
    frozen: "asyncio.Task[float] | None" = None
    decisions: Sequence[Decision] = ()
    is_older: bool = False
    number: int = 0


class World:
    """Lets events happen, both to the schedulers and to what is expected."""

    def __init__(
        self,
        scenario: Scenario,
        store: Store,
        empty: FireTime,
        *,
        save: FireTime | None = None,
        restore: FireTime | None = None,
    ) -> None:
        self.scenario = scenario
        self.expected = ExpectedSends()
        self._now = self._begin = to_ms(scenario.begin)
        self._passed = 0
        self._store = store(lambda: self._now)
        self._empty = empty
        self._save, self._restore = save, restore
        self._saved: Snapshot | None = None
        self._broker = InMemoryBroker()
        self._schedules = Schedules(self._broker, self._store)
        self._tables = [self._plans(table) for table in scenario.tables]
        self._dynamic = list(self._plans(scenario.dynamic).values())
        self._current = 0
        self._schedulers: list[Scheduler] = []
        self._in_effect: dict[str, Plan] | None = None
        self._number = 0

    async def run(self) -> None:
        """All events, then a scheduler's last look at what is left."""
        await self._start()
        for event in self.scenario.events:
            await self._happen(event)
        for scheduler in list(self._schedulers):
            await self._thaw(scheduler)
        await self._start()
        for _ in range(3):
            await self._tick(self._schedulers[-1])
        for scheduler in self._schedulers:
            await scheduler.ticker.leave()

    async def _happen(self, event: Event) -> None:
        awake = [one for one in self._schedulers if one.frozen is None]
        frozen = [one for one in self._schedulers if one.frozen is not None]
        chosen = awake[event.which % len(awake)] if awake else None
        match event.kind:
            case Kind.PASS:
                self._pass(event.by)
            case Kind.SET_CLOCK:
                self._set_clock(event.by)
            case Kind.START | Kind.START_OLDER | Kind.DEPLOY:
                if event.kind is Kind.DEPLOY:
                    self._current = event.which % len(self._tables)
                await self._start(is_older=event.kind is Kind.START_OLDER)
            case Kind.EMPTY | Kind.SNAPSHOT | Kind.RESTORE:
                await self._happen_to_redis(event.kind)
            case Kind.THAW if frozen:
                await self._thaw(frozen[event.which % len(frozen)])
            case Kind.KILL if self._schedulers:
                await self._kill(self._schedulers[event.which % len(self._schedulers)])
            case Kind.ADD | Kind.REMOVE | Kind.PAUSE | Kind.RESUME:
                await self._change(event)
            case _ if chosen is not None:
                await self._tick(chosen, event.kind)
            case _:
                pass

    def _plans(self, definitions: Sequence[ScheduleDefinition]) -> dict[str, Plan]:
        return {one.name: plan_of(one, self.scenario.begin) for one in definitions}

    def _pass(self, by: int) -> None:
        by = max(min(by, self._begin + round(SPAN.total_seconds() * 1000) - self._now), 0)
        self._now += by
        self._passed += by

    def _set_clock(self, by: int) -> None:
        end = self._begin + round(SPAN.total_seconds() * 1000)
        self._now = min(max(self._now + by, self._begin - 10_000_000), end)

    async def _start(self, *, is_older: bool = False) -> None:
        faults, table = Faults(), self._tables[self._current]
        ticker = SchedulerLoop(
            self._broker,
            faulty(self._store, faults),
            [plan.definition for plan in table.values()],
            clock=StoreClock(steady=lambda: self._passed / 1000, wall=lambda: self._now / 1000),
            send_deadline=_NO_DEADLINE,
        )
        if is_older:
            make_older(ticker)
        scheduler = Scheduler(ticker, faults, table, is_older=is_older)
        self._schedulers.append(scheduler)
        self._put_table(scheduler, lambda _: self._now)
        await self._tick(scheduler)

    def _put_table(self, scheduler: Scheduler, done: Callable[[str], int]) -> None:
        self.expected.put_table(scheduler.table, done)
        if self._in_effect is None or id_of(self._in_effect) != id_of(scheduler.table):
            self._number = max(self._now, self._number + 1, scheduler.number + 1)
        self._in_effect = scheduler.table

    async def _tick(self, scheduler: Scheduler, kind: Kind = Kind.TICK) -> None:
        # So that what is made ahead is made.
        await asyncio.sleep(0)
        decisions = self._look(scheduler)
        faults = scheduler.faults
        faults.loses_answer, faults.loses_request = kind is Kind.LOSE_ANSWER, kind is Kind.LOSE_REQUEST
        faults.repeats = kind is Kind.REPEAT
        if kind is Kind.FREEZE and decisions:
            faults.thawed.clear()
            faults.is_at_fire.clear()
            scheduler.frozen, scheduler.decisions = asyncio.create_task(scheduler.ticker.tick()), decisions
            await asyncio.wait(
                {scheduler.frozen, asyncio.ensure_future(faults.is_at_fire.wait())}, return_when="FIRST_COMPLETED"
            )
            return
        if kind is not Kind.LOSE_REQUEST:
            self._fire(scheduler, decisions, is_answered=kind is not Kind.LOSE_ANSWER)
        try:
            await scheduler.ticker.tick()
        except LostConnectionError:
            assert decisions

    def _look(self, scheduler: Scheduler) -> Sequence[Decision]:
        decisions = self.expected.look(self._now)
        if decisions is None:
            return ()
        if self._is_lost(scheduler):
            since = self._now if scheduler.looked is None else min(scheduler.looked, self._now)
            self._put_table(scheduler, lambda name: scheduler.pending.get(name, since))
            decisions = self.expected.look(self._now) or []
        scheduler.looked, scheduler.number = self._now, max(self._number, scheduler.number)
        if scheduler.is_older:
            decisions = [one for one in decisions if one.plan.definition.name not in _UNREADABLE]
        scheduler.pending = {
            one.plan.definition.name: one.due - 1 for one in decisions if one.plan in scheduler.table.values()
        }
        return decisions

    def _is_lost(self, scheduler: Scheduler) -> bool:
        if self._in_effect is None:
            return True
        return id_of(self._in_effect) != id_of(scheduler.table) and self._number < scheduler.number

    def _fire(self, scheduler: Scheduler, decisions: Sequence[Decision], *, is_answered: bool = True) -> None:
        self.expected.fire(decisions, self._now)
        if is_answered:
            scheduler.pending.clear()

    async def _thaw(self, scheduler: Scheduler) -> None:
        if scheduler.frozen is None:
            return
        self._fire(scheduler, scheduler.decisions)
        scheduler.faults.thawed.set()
        await scheduler.frozen
        scheduler.frozen, scheduler.decisions = None, ()

    async def _kill(self, scheduler: Scheduler) -> None:
        if scheduler.frozen is not None:
            scheduler.frozen.cancel()
            await asyncio.wait({scheduler.frozen})
        self._schedulers.remove(scheduler)

    async def _happen_to_redis(self, kind: Kind) -> None:
        match kind:
            case Kind.EMPTY:
                await self._lose_everything()
            case Kind.SNAPSHOT:
                await self._take_snapshot()
            case _:
                await self._restore_snapshot()

    async def _lose_everything(self) -> None:
        await self._kill_the_superseded()
        await self._empty()
        self.expected.kept.clear()
        self.expected.looked = 0
        self._in_effect, self._number = None, 0

    async def _kill_the_superseded(self) -> None:
        """Those that know another table than the one in effect would wait for the others."""
        for scheduler in list(self._schedulers):
            if self._in_effect is None or id_of(scheduler.table) != id_of(self._in_effect):
                await self._kill(scheduler)

    async def _take_snapshot(self) -> None:
        if self._save is not None:
            await self._save()
            self._saved = Snapshot(self.expected.copy(), self._in_effect, self._number)

    async def _restore_snapshot(self) -> None:
        if self._restore is None or self._saved is None:
            return
        await self._kill_the_superseded()
        await self._restore()
        saved = self._saved.expected.copy()
        self.expected.kept, self.expected.looked = saved.kept, saved.looked
        self._in_effect, self._number = self._saved.in_effect, self._saved.number

    async def _change(self, event: Event) -> None:
        expected, now = self.expected, self._now
        if event.kind is Kind.ADD:
            plan = self._dynamic[event.which % len(self._dynamic)]
            done = min(now, plan.times[0] - 1) if len(plan.times) == 1 else now
            due = plan.next_after(done)
            name = plan.definition.name
            is_paused = name in expected.kept and expected.kept[name].is_paused
            await self._store.add([Entry(name=name, data=plan.definition.dump(), due_ms=due)], script=uuid4().hex)
            expected.kept[name] = Kept(plan, done, is_paused, is_dynamic=True)
            return
        if not expected.kept:
            return
        name = sorted(expected.kept)[event.which % len(expected.kept)]
        known = expected.kept[name]
        if event.kind is Kind.PAUSE:
            await self._schedules.pause(name)
            expected.kept[name] = replace(known, is_paused=True)
        elif event.kind is Kind.REMOVE and known.is_dynamic:
            await self._schedules.remove(name)
            del expected.kept[name]
        elif event.kind is Kind.RESUME:
            await self._resume(name, known)

    async def _resume(self, name: str, known: Kept) -> None:
        try:
            await self._schedules.resume(name)
        except ScheduleError:
            assert known.plan.next_after(self._now) is None
            return
        if known.is_paused:
            self.expected.kept[name] = replace(known, done=self._now, is_paused=False)
