"""What is promised of scheduled times."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

Break = Callable[[str, str], None]


class Operated(StrEnum):
    """What somebody has made of a schedule, as he was told."""

    ON = "on"
    PAUSED = "paused"
    GONE = "gone"
    UNKNOWN = "unknown"


@dataclass(kw_only=True)
class _Schedule:
    state: Operated
    is_changing: bool = False
    is_unknown: bool = False

    @property
    def known_state(self) -> Operated:
        return Operated.UNKNOWN if self.is_changing or self.is_unknown else self.state


class Occurrences:
    """The scheduled times of one history, by the ids of the tasks that are sent for them.

    Args:
        now: the seconds of its clock.
        tell: is told what was not kept, and of which task.
    """

    def __init__(self, now: Callable[[], float], tell: Break) -> None:
        self._now = now
        self._tell = tell
        self._operated: dict[str, _Schedule] = {}
        self._fired: set[str] = set()
        self._last_fired: dict[str, float] = {}
        self._owed: set[str] = set()

    def fire(self, occurrence: str) -> None:
        """A scheduled time was sent."""
        if occurrence in self._fired:
            self._tell(f"{occurrence} was sent twice", occurrence)
        name = occurrence.partition("@")[0]
        if (state := self._state(name)) in (Operated.PAUSED, Operated.GONE):
            self._tell(f"{occurrence} was sent, and somebody was told that its schedule is {state}", occurrence)
        self._fired.add(occurrence)
        self._last_fired[name] = self._now()
        self._owed.add(occurrence)

    def run(self, occurrence: str) -> None:
        """What was sent for a scheduled time runs."""
        self._owed.discard(occurrence)

    def begin_change(self, name: str, *, is_known: bool) -> Operated:
        """Somebody begins to pause, resume, add or remove a schedule; gives what it was before.

        Args:
            name: the schedule's.
            is_known: whether it is there from the beginning.
        """
        first = Operated.ON if is_known else Operated.GONE
        schedule = self._operated.setdefault(name, _Schedule(state=first))
        # Of several at once nobody knows which came last.
        schedule.is_unknown |= schedule.is_changing
        schedule.is_changing = True
        return schedule.state

    def end_change(self, name: str, state: Operated) -> None:
        """Somebody was told what a schedule is now. What has had no answer may be on its way for long."""
        schedule = self._operated[name]
        schedule.is_changing, schedule.state = False, state
        schedule.is_unknown |= state is Operated.UNKNOWN

    def repeat(self) -> None:
        """Scheduled times may be sent again."""
        self._fired.clear()

    def lose(self) -> None:
        """What was sent is gone, and may be sent again."""
        self.repeat()
        self._owed.clear()
        for schedule in self._operated.values():
            schedule.is_unknown = True

    def check(self, present: Collection[str]) -> None:
        """Whether what was sent, and has not begun, is among the tasks that are there."""
        for occurrence in sorted(self._owed.difference(present)) if self._owed else ():
            self._tell(f"{occurrence} was sent and is nowhere", occurrence)

    def check_going_on(self, table: Mapping[str, int], added: Mapping[str, int]) -> None:
        """Whether each schedule has gone on lately, unless somebody was told that it is off, or of no answer.

        Args:
            table: those that are there from the beginning, and the seconds between their times.
            added: those that somebody may add.
        """
        for name, every in {**table, **added}.items():
            is_on = self._state(name) is Operated.ON or (name in table and name not in self._operated)
            if is_on and self._now() - self._last_fired.get(name, 0.0) > 2 * every + 1.0:
                self._tell(f"schedule {name} stands still", "")

    def _state(self, name: str) -> Operated:
        return self._operated[name].known_state if name in self._operated else Operated.UNKNOWN
