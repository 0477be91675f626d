"""What is promised of scheduled times."""

from collections.abc import Callable, Collection

Break = Callable[[str, str], None]


class Occurrences:
    """The scheduled times of one history, by the ids of the tasks that are sent for them.

    Args:
        now: the seconds of its clock.
        tell: is told what was not kept, and of which task.
    """

    def __init__(self, now: Callable[[], float], tell: Break) -> None:
        self._now = now
        self._tell = tell
        self.changed: set[str] = set()
        """Schedules that somebody has changed: nobody knows when they go on."""
        self._fired: set[str] = set()
        self._last_fired: dict[str, float] = {}
        self._owed: set[str] = set()

    def fire(self, occurrence: str) -> None:
        """A scheduled time was sent."""
        if occurrence in self._fired:
            self._tell(f"{occurrence} was sent twice", occurrence)
        self._fired.add(occurrence)
        self._last_fired[occurrence.partition("@")[0]] = self._now()
        self._owed.add(occurrence)

    def run(self, occurrence: str) -> None:
        """What was sent for a scheduled time runs."""
        self._owed.discard(occurrence)

    def repeat(self) -> None:
        """Scheduled times may be sent again."""
        self._fired.clear()

    def lose(self) -> None:
        """What was sent is gone, and may be sent again."""
        self.repeat()
        self._owed.clear()

    def check(self, present: Collection[str]) -> None:
        """Whether what was sent, and has not begun, is among the tasks that are there."""
        for occurrence in sorted(self._owed.difference(present)) if self._owed else ():
            self._tell(f"{occurrence} was sent and is nowhere", occurrence)

    def check_going_on(self, seconds: dict[str, int]) -> None:
        """Whether each schedule has gone on lately; each with the seconds between its times."""
        for name, every in seconds.items():
            is_late = self._now() - self._last_fired.get(name, 0.0) > 2 * every + 1.0
            if is_late and name not in self.changed:
                self._tell(f"schedule {name} stands still", "")
