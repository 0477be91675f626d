"""What becomes of due times: counted by the scheduler that takes the step, and added up in Redis every few seconds.

A step is taken by one scheduler, so each is counted once. What a scheduler has not added when it is killed is lost.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from logging import getLogger
from typing import Final

from kiqstart.broker.histogram import SECONDS_BUCKETS, Histogram
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.redis_text import text_of_name, whole_number
from kiqstart.broker.stats_batch import StatsBatch
from kiqstart.clock import local_time
from kiqstart.redis.commands import AsyncCommands, ScriptClient
from kiqstart.scheduler.firing import FireRequest, FireResult, Outcome
from kiqstart.scheduler.misfires import ON_TIME

logger = getLogger(__name__)

_SECONDS_BETWEEN: Final = 5.0
_ON_TIME_MS: Final = ON_TIME.total_seconds() * 1000
# Schedules that were added at run time, which may be any number, are counted together.
_ADDED: Final = ""
_LATE: Final = "late"


class DueOutcome(StrEnum):
    """What became of a time at which a schedule was due."""

    SENT = "sent"
    """Within ten seconds."""
    CAUGHT_UP = "caught_up"
    """Sent later than that."""
    MISSED = "missed"
    """Passed over for good."""
    HELD = "held"
    """Not sent: another task has its unique key."""
    FAILED = "failed"
    """Its message could not be made or sent until the deadline."""


@dataclass(frozen=True, kw_only=True)
class ScheduleStats:
    """What all schedulers together have counted.

    Args:
        outcomes: by schedule, '' for those that were added at run time: how many times became what.
        lateness: by how much those that were sent were late, of all schedules.
    """

    outcomes: Mapping[str, Mapping[DueOutcome, int]]
    lateness: Histogram


class SchedulerStats:
    """What one scheduler counts.

    Args:
        names: the schedules that have counts of their own.
    """

    def __init__(self, keys: QueueKeys, names: Collection[str]) -> None:
        self._key = keys.schedule_stats
        self._names = frozenset(names)
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._batch = StatsBatch(keys)
        self._flushed_at = local_time()
        self._problem: str | None = None

    def count(self, firing: FireRequest, answer: FireResult, now_ms: int) -> None:
        """Count a step and what came of it."""
        if answer.outcome in (Outcome.LOST, Outcome.REFUSED):
            return
        name = firing.due.name if firing.due.name in self._names else _ADDED
        if firing.passed_over:
            self._counts[f"{name}\n{DueOutcome.MISSED}"] += firing.passed_over
        match answer.outcome:
            case Outcome.SENT if firing.send_ms is not None:
                late_ms = max(now_ms - firing.send_ms, 0)
                outcome = DueOutcome.SENT if late_ms <= _ON_TIME_MS else DueOutcome.CAUGHT_UP
                self._counts[f"{name}\n{outcome}"] += 1
                self._counts[f"\n{_LATE}:{bisect_left(SECONDS_BUCKETS, late_ms / 1000)}"] += 1
                self._counts[f"\n{_LATE}:us"] += late_ms * 1000
            case Outcome.HELD:
                self._counts[f"{name}\n{DueOutcome.HELD}"] += 1
            case Outcome.FAILED:
                self._counts[f"{name}\n{DueOutcome.FAILED}"] += 1
            case _:
                pass

    async def flush(self, redis: ScriptClient, *, at_once: bool = False) -> None:
        """Add to Redis what was counted, every few seconds; where it is away, a later call does.

        Args:
            redis: an async client.
            at_once: whether also before that.
        """
        now = local_time()
        if not (self._counts or self._batch) or not (at_once or now - self._flushed_at >= _SECONDS_BETWEEN):
            return
        self._flushed_at = now
        if not self._batch:
            counts, self._counts = self._counts, defaultdict(int)
            self._batch.fill({self._key: counts})
        problem = await self._batch.send(redis)
        if problem and problem != self._problem:
            self._problem = problem
            logger.warning("What becomes of due times cannot be counted: %s", problem)


async def read_schedule_stats(redis: AsyncCommands, keys: QueueKeys) -> ScheduleStats:
    """What was ever counted."""
    outcomes: dict[str, dict[DueOutcome, int]] = {}
    late: dict[str, int] = {}
    for raw, value in (await redis.hgetall(keys.schedule_stats)).items():
        name, _, what = text_of_name(raw).rpartition("\n")
        count = whole_number(value.decode(errors="replace"), 0)
        if what in list(DueOutcome):
            outcomes.setdefault(name, {})[DueOutcome(what)] = count
        else:
            late[what] = count
    return ScheduleStats(
        outcomes=dict(sorted(outcomes.items())),
        lateness=Histogram(
            counts=[late.get(f"{_LATE}:{place}", 0) for place in range(len(SECONDS_BUCKETS))],
            seconds=late.get(f"{_LATE}:us", 0) / 1e6,
        ),
    )
