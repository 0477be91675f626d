"""How quickly things go, from what was seen one after the other."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kiqstart.broker.histogram import Histogram
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.task_stats import TaskStats, read_recent_task_stats
from kiqstart.operations.pulse import Pulse, QueuePulse
from kiqstart.redis.commands import AsyncCommands

WINDOW: Final = 300.0
"""Seconds of which rates are, at most."""
_P95: Final = 0.95
_HOUR: Final = 3600.0


@dataclass(frozen=True, kw_only=True)
class QueueRate:
    """Tasks a second.

    Args:
        put: that came to the queue; None where that is not known yet.
        taken: that workers took from it; None where that is not known yet.
    """

    put: float | None = None
    taken: float | None = None


@dataclass(frozen=True, kw_only=True)
class TaskRate:
    """What became of a task's runs.

    Args:
        task: its name; '' for messages of tasks that no worker knows.
        rate: runs that ended, a second.
        failed: runs that did not succeed, but for cancelled ones.
        mean: seconds that a run took; None where none has run.
        p95: seconds within which 95 of 100 ran, a bound of the histogram (inf beyond its last); None where none has.
        wait_mean: seconds that a message was in its queue before a run.
        wait_p95: seconds within which 95 of 100 were taken from there, as `p95` has it.
    """

    task: str
    rate: float
    failed: int
    mean: float | None
    p95: float | None
    wait_mean: float | None
    wait_p95: float | None


class Rates:
    """Compares what was seen with what was seen up to five minutes before."""

    def __init__(self) -> None:
        self._seen: deque[Pulse] = deque()

    def note(self, pulse: Pulse) -> None:
        """Take over what was seen last."""
        # After a Redis that has lost its data, or a clock that was set, nothing before can be compared.
        if self._seen and pulse.at <= self._seen[-1].at:
            self._seen.clear()
        self._seen.append(pulse)
        while (pulse.at - self._seen[0].at).total_seconds() > WINDOW:
            self._seen.popleft()

    @property
    def seconds(self) -> float:
        """Of how many seconds the rates are; 0 where there is nothing to compare."""
        return (self._seen[-1].at - self._seen[0].at).total_seconds() if self._seen else 0.0

    def of_queue(self, queue: QueuePulse) -> QueueRate:
        """How quickly a queue fills and empties."""
        before = next((one for one in self._seen[0].queues if one.name == queue.name), None) if self._seen else None
        if not self.seconds or before is None or before.taken is None or queue.taken is None:
            return QueueRate()
        taken = max(queue.taken - before.taken, 0)
        put = max(taken + queue.waiting - before.waiting, 0)
        return QueueRate(put=put / self.seconds, taken=taken / self.seconds)

    def of_tasks(self) -> list[TaskRate]:
        """What became of each task's runs, the most runs first."""
        if not self.seconds:
            return []
        before = {one.task: one for one in self._seen[0].stats}
        stats = [_since(one, before.get(one.task, TaskStats(task=one.task))) for one in self._seen[-1].stats]
        return rates_of(stats, self.seconds)


async def read_recent_rates(redis: AsyncCommands, keys: QueueKeys) -> tuple[float, list[TaskRate]]:
    """What became of tasks in the last full hour and in the one that runs: of how many seconds that is, and the rates.

    Raises:
        RedisError: Redis is away.
    """
    now, _ = await redis.time()
    seconds = _HOUR + now % _HOUR
    return seconds, rates_of(await read_recent_task_stats(redis, keys), seconds)


def rates_of(stats: Sequence[TaskStats], seconds: float) -> list[TaskRate]:
    """Of what was counted in so many seconds, the most runs first."""
    found = [
        TaskRate(
            task=one.task,
            rate=sum(one.ended.values()) / seconds,
            failed=one.problems,
            mean=one.run.mean,
            p95=one.run.within(_P95),
            wait_mean=one.wait.mean,
            wait_p95=one.wait.within(_P95),
        )
        for one in stats
        if one.started or one.ended
    ]
    return sorted(found, key=lambda one: (-one.rate, one.task))


def _since(now: TaskStats, before: TaskStats) -> TaskStats:
    return TaskStats(
        task=now.task,
        started=max(now.started - before.started, 0),
        ended={how: left for how, count in now.ended.items() if (left := count - before.ended.get(how, 0)) > 0},
        run=_longer(now.run, before.run),
        wait=_longer(now.wait, before.wait),
    )


def _longer(now: Histogram, before: Histogram) -> Histogram:
    return Histogram(
        counts=[max(one - other, 0) for one, other in zip(now.counts, before.counts, strict=True)],
        seconds=max(now.seconds - before.seconds, 0.0),
    )
