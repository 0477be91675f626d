"""How much of its time a gentle run works: a share, with rests between batches, and less when others suffer."""

from collections import defaultdict, deque
from dataclasses import dataclass
from statistics import median
from typing import Final

# A little more than a quarter, so that with all that is not a batch it is as fast as a quarter of full pace.
_FIRST_SHARE: Final = 0.28
_LARGEST_SHARE: Final = 0.3
_SMALLEST_SHARE: Final = 0.05
_STEP_UP: Final = 0.02
_STEP_DOWN: Final = 0.7

# Batches in a median of late, and before.
_LATEST: Final = 15
_USUAL: Final = 64
_SLOW: Final = 2.0
# Looks before and as many after, and how much more may be in flight after: as a factor, and by chance.
_LOOKS: Final = 8
_TOLERATED: Final = 3.0
_CHANCE: Final = 6


@dataclass(frozen=True, slots=True)
class Others:
    """The other sessions of the server at a moment, as far as the role may see them.

    `in_flight` wait for an answer; `others` did within the last second or may not be looked at, and are no retention
    runs; `deleters` are the shards of such runs that somebody works on, this one included; `begun` counts all sessions
    that there ever were.
    """

    in_flight: int
    others: int
    deleters: int
    begun: int


class Usual:
    """What something costs of late, against what it cost before; what lasts becomes usual.

    Medians, since on a busy host single costs differ tenfold while nothing changes.
    """

    def __init__(self) -> None:
        self._before: deque[float] = deque(maxlen=_USUAL)
        self._latest: deque[float] = deque(maxlen=_LATEST)

    def exceeded_by(self, cost: float) -> bool:
        """Take a cost, and return whether the latest ones are out of the usual."""
        if len(self._latest) == _LATEST:
            self._before.append(self._latest[0])
        self._latest.append(cost)
        if len(self._before) < _LATEST or median(self._latest) <= _SLOW * median(self._before):
            return False
        # The next ones show whether giving way has helped.
        self._before.extend(self._latest)
        self._latest.clear()
        return True


class Throttle:
    """Adapts the share of the time in which a run works, as TCP adapts its window: up in steps, down by a factor.

    Batches look at others by turns before and after their work (`looks_after`), since a transaction sees them once.

    It goes down when the run's own batches cost more per row than they used to, when a statement that always does the
    same takes longer than it used to, or when more of the others wait for an answer right after a batch than right
    before one: they come as often, so each takes longer. Where nobody else does anything for some looks, there are no
    rests. What a batch costs is held against others of which about the same part of the rows went.
    """

    def __init__(self) -> None:
        self.share = _FIRST_SHARE
        self.looks_after = False
        self._row: defaultdict[int, Usual] = defaultdict(Usual)
        self._look = Usual()
        self._after: deque[int] = deque(maxlen=_LOOKS)
        self._before: deque[int] = deque(maxlen=_LOOKS)
        self._company: deque[bool] = deque([True], maxlen=_LOOKS)
        self._begun: int | None = None
        self._deleters = 1

    def record_look(self, others: Others, seconds: float) -> None:
        """Take what a look showed, and the time it took."""
        (self._after if self.looks_after else self._before).append(others.in_flight)
        self._deleters = max(1, others.deleters)
        # Who comes and goes between two looks is seen by what it leaves.
        has_come = self._begun is not None and others.begun > self._begun
        if self._begun is None:
            self._company.clear()
        self._begun = others.begun
        self._company.append(others.others > 0 or has_come)
        if self._look.exceeded_by(seconds):
            self._give_way()
        elif len(self._after) == len(self._before) == _LOOKS:
            self._compare()

    def record_batch(self, work: float, looked_at: int, deleted: int) -> None:
        """Take the seconds that a batch's own work took, how many rows it looked at, and how many of them went."""
        self.looks_after = not self.looks_after
        rows = max(looked_at, deleted)
        if rows and self._row[(rows // max(1, deleted)).bit_length()].exceeded_by(work / rows):
            self._give_way()

    def rest(self, work: float, seconds: float) -> float:
        """Return the seconds to rest after a batch of so many, in `work` of which it bothered others."""
        if not any(self._company):
            return 0.0
        return max(0.0, work * self._deleters / self.share - seconds)

    def _compare(self) -> None:
        is_worse = sum(self._after) > _TOLERATED * sum(self._before) + _CHANCE
        self._after.clear()
        self._before.clear()
        if is_worse:
            self._give_way()
        else:
            self.share = min(_LARGEST_SHARE, self.share + _STEP_UP)

    def _give_way(self) -> None:
        self.share = max(_SMALLEST_SHARE, self.share * _STEP_DOWN)
