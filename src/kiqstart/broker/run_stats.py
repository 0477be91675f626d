"""What becomes of tasks: counted by each worker, and added up in Redis with its beats.

A worker counts in its own memory, so that a task costs no command. With a beat it adds what it has counted since the
last one, in one script, under a number: where the answer is lost, the same batch is sent again under the same number,
and counts once. What a worker has not added when it is killed, a beat's worth, is lost; no task waits for it, and
nothing but counts is lost with it.
"""

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from logging import getLogger
from math import inf
from typing import TYPE_CHECKING, Final, cast
from uuid import uuid4

from redis.exceptions import ResponseError

from kiqstart.broker.delivery import Again, Dead, Delivery, Left
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.redis_retry import may_pass, reason
from kiqstart.broker.redis_text import text_of_name, whole_number
from kiqstart.broker.script import Script, Value

if TYPE_CHECKING:
    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

logger = getLogger(__name__)

_FLUSH: Final = Script("flush_stats")

SECONDS_BUCKETS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 600.0, 3600.0, inf)
"""Upper bounds of the histograms, in seconds."""
_HOUR_MS: Final = 3_600_000
_KEEP_HOUR_MS: Final = 3 * _HOUR_MS
_KEEP_NUMBER_MS: Final = _HOUR_MS
# Tasks of other names than a worker has are counted together.
_UNKNOWN: Final = ""


class Outcome(StrEnum):
    """How a run of a task ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """Its error is its result."""
    RETRIED = "retried"
    """It failed, and runs again later."""
    DEAD = "dead"
    """It is a dead letter."""
    CANCELLED = "cancelled"


PROBLEMS: Final = (Outcome.FAILED, Outcome.RETRIED, Outcome.DEAD)
"""How a run ends that did not succeed, but for cancelled ones."""
_STARTED: Final = "started"
_RUN, _WAIT = "run", "wait"
# What is counted of a task, in the order in which a worker keeps it; the times are in microseconds.
_NAMES: Final = (
    _STARTED,
    *Outcome,
    *(f"{_RUN}:{place}" for place in range(len(SECONDS_BUCKETS))),
    f"{_RUN}:us",
    *(f"{_WAIT}:{place}" for place in range(len(SECONDS_BUCKETS))),
    f"{_WAIT}:us",
)
_PLACE_OF_OUTCOME: Final = {outcome: _NAMES.index(outcome) for outcome in Outcome}
_PLACE_OF_RUN: Final = _NAMES.index(f"{_RUN}:0")
_PLACE_OF_WAIT: Final = _NAMES.index(f"{_WAIT}:0")


class RunStats:
    """What one worker process counts.

    Args:
        redis: a client that blocks, for the lease's thread.
        now_ms: gives Redis' time, as far as this process knows it.
    """

    def __init__(self, redis: object, keys: QueueKeys, *, now_ms: Callable[[], int]) -> None:
        self._redis = cast("Redis", redis)
        self._keys = keys
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._counts: defaultdict[str, list[int]] = defaultdict(_zeros)
        # Sent, and not answered yet.
        self._batch: list[Value] = []
        self._number = 1
        self._process = uuid4().hex
        self._problem: str | None = None

    def started(self, delivery: Delivery) -> None:
        """A task begins to run."""
        waited = (self._now_ms() - int(delivery.entry.partition("-")[0])) / 1000
        with self._lock:
            counts = self._counts[_name(delivery)]
            counts[0] += 1
            _observe(counts, _PLACE_OF_WAIT, waited)

    def ran(self, task_name: str, seconds: float) -> None:
        """A task's function has taken so many seconds."""
        with self._lock:
            _observe(self._counts[task_name], _PLACE_OF_RUN, seconds)

    def settled(self, delivery: Delivery) -> None:
        """Redis has taken what became of a task."""
        outcome = outcome_of(delivery)
        if outcome is not None:
            with self._lock:
                self._counts[_name(delivery)][_PLACE_OF_OUTCOME[outcome]] += 1

    def flush(self) -> None:
        """Add to Redis what was counted; to be called in the lease's thread.

        What Redis refuses for a while, as one that is full does, is added by a later call.

        Raises:
            RedisError: Redis is away; it is added by the next call.
        """
        if not self._batch:
            with self._lock:
                counted, self._counts = self._counts, defaultdict(_zeros)
            self._batch = [value for task, counts in counted.items() for value in _written(task, counts)]
        if not self._batch:
            return
        keys = [self._keys.stats, self._keys.stats_of_hour(self._now_ms()), self._keys.stats_batch(self._process)]
        arguments = [self._number, _KEEP_HOUR_MS, _KEEP_NUMBER_MS, *self._batch]
        try:
            _FLUSH.in_thread(self._redis, keys, arguments)
        except ResponseError as error:
            if may_pass(error):
                return
            self._tell(reason(error))
        self._batch, self._number = [], self._number + 1

    def _tell(self, problem: str) -> None:
        if problem != self._problem:
            logger.warning("What becomes of tasks cannot be counted: %s", problem)
        self._problem = problem


def _zeros() -> list[int]:
    return [0] * len(_NAMES)


def _observe(counts: list[int], place: int, seconds: float) -> None:
    counts[place + bisect_left(SECONDS_BUCKETS, seconds)] += 1
    counts[place + len(SECONDS_BUCKETS)] += max(round(seconds * 1e6), 0)


def _written(task: str, counts: Sequence[int]) -> Iterator[Value]:
    """Fields and increments in turn."""
    for name, count in zip(_NAMES, counts, strict=True):
        if count:
            yield f"{task}\n{name}"
            yield count


def outcome_of(delivery: Delivery) -> Outcome | None:
    """How a settled delivery ended; None where the message was left to other workers."""
    if delivery.is_cancelled:
        return Outcome.CANCELLED
    if isinstance(delivery.outcome, Left):
        return None
    if isinstance(delivery.outcome, Again):
        return Outcome.RETRIED
    if isinstance(delivery.outcome, Dead):
        return Outcome.DEAD
    return Outcome.FAILED if delivery.has_failed else Outcome.SUCCEEDED


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How long something took.

    Args:
        counts: how many took up to each of `SECONDS_BUCKETS`, and more than the one before.
        seconds: all together.
    """

    counts: Sequence[int] = (0,) * len(SECONDS_BUCKETS)
    seconds: float = 0.0

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self.counts)


@dataclass(frozen=True, kw_only=True)
class TaskStats:
    """What all workers together have counted of a task.

    Args:
        task: its name; '' for messages of tasks that no worker knows.
        started: runs that began.
        ended: how many runs ended how.
        run: how long its function took.
        wait: how long its messages were in the queue before a run; a retry's delay is not part of it.
    """

    task: str
    started: int = 0
    ended: Mapping[Outcome, int] = field(default_factory=dict[Outcome, int])
    run: Histogram = Histogram()
    wait: Histogram = Histogram()

    @property
    def problems(self) -> int:
        """Runs that did not succeed, but for cancelled ones."""
        return sum(self.ended.get(one, 0) for one in PROBLEMS)


async def read_task_stats(redis: object, keys: QueueKeys) -> list[TaskStats]:
    """What was ever counted, by task.

    Raises:
        RedisError: Redis is away.
    """
    client = cast("AsyncRedis", redis)
    return _parsed(cast("dict[bytes, bytes]", await client.hgetall(keys.stats)))


async def read_recent_task_stats(redis: object, keys: QueueKeys) -> list[TaskStats]:
    """What was counted in the last full hour and in the one that runs, by task.

    Raises:
        RedisError: Redis is away.
    """
    client = cast("AsyncRedis", redis)
    seconds, _ = await client.time()
    found: dict[bytes, int] = {}
    for now_ms in (seconds * 1000, seconds * 1000 - _HOUR_MS):
        counted = cast("dict[bytes, bytes]", await client.hgetall(keys.stats_of_hour(now_ms)))
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
            started=counts.get(_STARTED, 0),
            ended={outcome: counts[outcome] for outcome in Outcome if outcome in counts},
            run=_histogram(counts, _RUN),
            wait=_histogram(counts, _WAIT),
        )
        for task, counts in sorted(by_task.items())
    ]


def _histogram(counts: Mapping[str, int], what: str) -> Histogram:
    return Histogram(
        counts=[counts.get(f"{what}:{place}", 0) for place in range(len(SECONDS_BUCKETS))],
        seconds=counts.get(f"{what}:us", 0) / 1e6,
    )


def _name(delivery: Delivery) -> str:
    return delivery.message.task_name if delivery.message is not None and delivery.is_started else _UNKNOWN
