"""What schedulers should send, computed from the occurrences alone: the oracle of the laws."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kiqstart.scheduler.definition import CatchUp, ScheduleDefinition

_SET_BACK_MS = 60_000
_ON_TIME_MS = 10_000


@dataclass(frozen=True)
class Plan:
    """A schedule with all times at which it is due, in milliseconds."""

    definition: ScheduleDefinition
    times: Sequence[int]

    def next_after(self, time: int) -> int | None:
        place = bisect_right(self.times, time)
        return self.times[place] if place < len(self.times) else None

    def between(self, first: int, last: int) -> Sequence[int]:
        return self.times[bisect_left(self.times, first) : bisect_right(self.times, last)]

    def sent_of(self, due: int, now: int) -> list[int]:
        """What is sent at `now` of the times since `due`."""
        definition = self.definition
        count = {CatchUp.ALL: definition.max_catch_up, CatchUp.LATEST: 1}.get(definition.catch_up, len(self.times))
        longest = float("inf") if definition.misfire_grace_time is None else definition.misfire_grace_time * 1000
        if definition.catch_up is CatchUp.NONE:
            longest = min(longest, _ON_TIME_MS)
        return [time for time in self.between(due, now)[-count:] if now - time <= longest]


@dataclass(frozen=True)
class Kept:
    """A schedule that is in effect; all up to `done` is done with."""

    plan: Plan
    done: int
    is_paused: bool = False
    is_dynamic: bool = False

    @property
    def due(self) -> int | None:
        return None if self.is_paused else self.plan.next_after(self.done)


@dataclass(frozen=True)
class Decision:
    """What a scheduler that looked at `now` is about to do with a schedule."""

    plan: Plan
    due: int
    now: int


@dataclass
class ExpectedSends:
    """The schedules in effect, and all that should have been sent so far."""

    kept: dict[str, Kept] = field(default_factory=dict[str, Kept])
    sends: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    looked: int = 0

    def copy(self) -> "ExpectedSends":
        """What is in effect, as a snapshot has it."""
        return ExpectedSends(dict(self.kept), looked=self.looked)

    def put_table(self, table: Mapping[str, Plan], done: Callable[[str], int]) -> None:
        """A scheduler that starts, or finds nothing, puts its table into effect."""
        for name, plan in table.items():
            known = self.kept.get(name)
            if known is None or known.is_dynamic:
                self.kept[name] = Kept(plan, done(name))
            elif known.plan.definition.timing == plan.definition.timing:
                self.kept[name] = replace(known, plan=plan)
            else:
                self.kept[name] = Kept(plan, done(name), known.is_paused)
        self.kept = {name: one for name, one in self.kept.items() if one.is_dynamic or name in table}

    def look(self, now: int) -> list[Decision] | None:
        """What a scheduler sees; None where it sees that the clock was set back."""
        if self.looked - now > _SET_BACK_MS:
            self.looked = now
            self.kept = {name: replace(one, done=min(one.done, now)) for name, one in self.kept.items()}
            return None
        self.looked = max(self.looked, now)
        dues = [(one.plan, one.due) for one in self.kept.values()]
        return [Decision(plan, due, now) for plan, due in dues if due is not None and due <= now]

    def fire(self, decisions: Sequence[Decision], now: int) -> None:
        """What becomes of decisions that reach the store at `now`."""
        for decision in decisions:
            name = decision.plan.definition.name
            known = self.kept.get(name)
            if known is None or known.plan != decision.plan or known.due != decision.due or decision.due > now:
                continue
            times = decision.plan.sent_of(decision.due, decision.now)
            # Each is a step of its own; the clock may have been set back to before the last ones.
            early = [time for time in times[1:] if time > now]
            self.sends += [(name, time) for time in times if time not in early]
            self.kept[name] = replace(known, done=early[0] - 1 if early else decision.now)
            if not early and decision.plan.next_after(decision.now) is None:
                del self.kept[name]
