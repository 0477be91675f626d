"""What all workers together have counted of tasks, as it is in Redis."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from kiqstart.broker.histogram import SECONDS_BUCKETS, Histogram
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.redis_text import text_of_name, whole_number
from kiqstart.broker.run_stats import PROBLEMS, RUN, STARTED, WAIT, Outcome
from kiqstart.broker.stats_batch import SENT
from kiqstart.redis.commands import AsyncCommands

_HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, kw_only=True)
class TaskStats:
    """What all workers together have counted of a task.

    Args:
        task: its name; '' for messages of tasks that no worker knows.
        sent: messages that were sent; retries are none.
        started: runs that began.
        ended: how many runs ended how.
        run: how long its function took.
        wait: how long its messages were in the queue before a run; a retry's delay is not part of it.
    """

    task: str
    sent: int = 0
    started: int = 0
    ended: Mapping[Outcome, int] = field(default_factory=dict[Outcome, int])
    run: Histogram = field(default_factory=Histogram)
    wait: Histogram = field(default_factory=Histogram)

    @property
    def problems(self) -> int:
        """Runs that did not succeed, but for cancelled ones."""
        return sum(self.ended.get(one, 0) for one in PROBLEMS)


async def read_task_stats(redis: AsyncCommands, keys: QueueKeys) -> list[TaskStats]:
    """What was ever counted, by task.

    Raises:
        RedisError: Redis is away.
    """
    return _parsed(await redis.hgetall(keys.stats))


async def read_recent_task_stats(redis: AsyncCommands, keys: QueueKeys) -> list[TaskStats]:
    """What was counted in the last full hour and in the one that runs, by task.

    Raises:
        RedisError: Redis is away.
    """
    seconds, _ = await redis.time()
    found: dict[bytes, int] = {}
    for now_ms in (seconds * 1000, seconds * 1000 - _HOUR_MS):
        counted = await redis.hgetall(keys.stats_of_hour(now_ms))
        for name, value in counted.items():
            found[name] = found.get(name, 0) + whole_number(value.decode(errors="replace"), 0)
    return _parsed({name: str(value).encode() for name, value in found.items()})


def _parsed(counted: Mapping[bytes, bytes]) -> list[TaskStats]:
    by_task: dict[str, dict[str, int]] = {}
    for raw, value in counted.items():
        task, _, what = text_of_name(raw).rpartition("\n")
        by_task.setdefault(task, {})[what] = whole_number(value.decode(errors="replace"), 0)
    return [
        TaskStats(
            task=task,
            sent=counts.get(SENT, 0),
            started=counts.get(STARTED, 0),
            ended={outcome: counts[outcome] for outcome in Outcome if outcome in counts},
            run=_histogram(counts, RUN),
            wait=_histogram(counts, WAIT),
        )
        for task, counts in sorted(by_task.items())
    ]


def _histogram(counts: Mapping[str, int], what: str) -> Histogram:
    return Histogram(
        counts=[counts.get(f"{what}:{place}", 0) for place in range(len(SECONDS_BUCKETS))],
        seconds=counts.get(f"{what}:us", 0) / 1e6,
    )
