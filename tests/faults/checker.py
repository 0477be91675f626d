"""Decides from the records alone what was lost, and what ran twice without leave."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from tests.faults.fault import Fault, Kind
from tests.faults.records import Records, Run

# An end is recorded before the task is acknowledged. So many seconds later it must have been, if Redis was there.
_SECONDS_TO_ACKNOWLEDGE: Final = 5.0
# A lease may have been renewed some time before its worker froze, and a grace be counted a little differently.
_SHARE_OF_LEASE: Final = 0.5
_GRACE_TOLERANCE: Final = 0.5
_NOBODY: Final = 0
_TROUBLES: Final = {Kind.REDIS, Kind.WIPE, Kind.CUT}


@dataclass(kw_only=True)
class Verdict:
    """What became of the tasks."""

    accepted: int
    lost: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)
    """Ran again since a process died, froze, or ended."""
    twice: list[str] = field(default_factory=list)
    """Ran again without any such reason."""


class Checker:
    """Judges the records of a scenario.

    Args:
        lease: seconds after which a frozen worker's tasks may be given to another.
        slack: seconds after its end by which a task must have been acknowledged.
    """

    def __init__(self, records: Records, *, lease: float, slack: float = _SECONDS_TO_ACKNOWLEDGE) -> None:
        self._records = records
        self._lease = lease
        self._slack = slack
        self._troubles = [fault for fault in records.faults if fault.kind in _TROUBLES]
        deaths = [Fault(kind=Kind.KILL, began=time, ended=time, pid=pid) for pid, time in records.deaths]
        self._repeated = [runs for runs in records.runs.values() if len(runs) > 1]
        hits = records.faults + records.standstills + deaths
        self._hits = [fault for fault in hits if fault.pid is not None]

    def verdict(self) -> Verdict:
        """Judge all tasks."""
        verdict = Verdict(
            accepted=len(self._records.sent), lost=sorted(name for name in self._records.sent if self._is_lost(name))
        )
        for name, runs in self._records.runs.items():
            unexcused = len(runs) - self._excused(runs) - max(1, self._records.sendings[name])
            if unexcused > 0:
                verdict.twice.append(name)
            elif len(runs) > self._records.sendings[name]:
                verdict.allowed.append(name)
        return verdict

    def excuse(self, run: Run, following: Run) -> Fault | None:
        """The fault that is the reason why a run was followed by another."""
        return next((fault for fault in self._hits if self._explains(fault, run, following)), None)

    def may_be_another_s(self, run: Run, at: float) -> bool:
        """Whether some fault may have given a run's task to another worker by then."""
        return self.excuse(run, Run(pid=_NOBODY, start=at)) is not None

    def restarts(self, fault: Fault) -> list[float]:
        """When the tasks that a fault took from their workers were begun again, in seconds since it could be."""
        # What outlasts its grace can be given back only then.
        zero = max(fault.began + fault.grace, fault.alone_until)
        return [
            following.start - zero
            for runs in self._repeated
            for run, following in pairwise(runs)
            # A frozen worker ends its runs too, once it is thawed.
            if (run.end is None or fault.kind is Kind.FREEZE) and self._explains(fault, run, following)
        ]

    def _is_lost(self, name: str) -> bool:
        return not self._records.may_vanish(name) and not self._records.has_ended(name)

    def _excused(self, runs: list[Run]) -> int:
        """How many runs can be explained, each by another one before it."""
        runs.sort(key=lambda run: run.start)
        unused: list[Run] = []
        excused = 0
        for run in runs:
            reason = next((earlier for earlier in unused if self.excuse(earlier, run)), None)
            if reason is not None:
                unused.remove(reason)
                excused += 1
            unused.append(run)
        return excused

    def _explains(self, fault: Fault, run: Run, following: Run) -> bool:
        if fault.pid not in {run.pid, *run.parents}:
            return False
        settled = self._settled(run)
        match fault.kind:
            case Kind.KILL:
                return run.start <= fault.began <= min(following.start, settled)
            case Kind.FREEZE | Kind.STARVED:
                past_lease = fault.began + self._lease * _SHARE_OF_LEASE
                is_hit = run.start <= fault.ended and fault.began <= settled
                return is_hit and min(fault.ended, following.start) >= past_lease and following.pid != run.pid
            case Kind.TERM:
                over = fault.began + fault.grace - _GRACE_TOLERANCE
                is_outlasted = run.start <= over + 2 * _GRACE_TOLERANCE and following.start >= over
                last = run.end or run.cut or over
                return is_outlasted and (last >= over or self._is_away(last, over))
            case _:
                return False

    def _is_away(self, began: float, ended: float) -> bool:
        """Whether Redis was away all that time, so that what ended in it could not be settled before its worker was."""
        return any(
            fault.began <= began and fault.ended >= ended for fault in self._troubles if fault.kind is Kind.REDIS
        )

    def _settled(self, run: Run) -> float:
        """When the task must have been acknowledged, at the latest."""
        if run.end is None:
            return float("inf")
        settled = run.end + self._slack
        for fault in self._troubles:
            if fault.began <= settled and fault.ended >= run.end:
                settled = max(settled, fault.ended + self._slack)
        return settled
