"""What becomes of tasks: counted by each worker, and added up in Redis with its beats.

A worker counts in its own memory, so that a task costs no command. With a beat it adds what it has counted since the
last one, in one script, under a number: where the answer is lost, the same batch is sent again under the same number,
and counts once. What a worker has not added when it is killed, a beat's worth, is lost; no task waits for it, and
nothing but counts is lost with it. What clean-ups have done in this process goes the same way.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from logging import getLogger
from operator import sub
from typing import Final

from redis.exceptions import ResponseError

from kiqstart.broker.delivery import DONE, Again, Dead, Delivery, Left
from kiqstart.broker.histogram import SECONDS_BUCKETS
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.redis_retry import may_pass, reason
from kiqstart.broker.stats_batch import FLUSH, KEEP_HOUR_MS, KEEP_MINUTE_MS, StatsBatch
from kiqstart.clock import local_time
from kiqstart.observability.process_counts import PROCESS_COUNTS
from kiqstart.redis.commands import BlockingCommands
from kiqstart.retention.count_names import SECTION as RETENTION
from kiqstart.tasks.results.result_encoding import FAILED_RESULT

logger = getLogger(__name__)

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
STARTED: Final = "started"
PROBLEMS_FIELD: Final = "problems"
"""Of a minute: how many runs of a task did not succeed."""
RUN, WAIT = "run", "wait"
# What is counted of a task, in the order in which a worker keeps it; the times are in microseconds.
_NAMES: Final = (
    STARTED,
    *Outcome,
    *(f"{RUN}:{place}" for place in range(len(SECONDS_BUCKETS))),
    f"{RUN}:us",
    *(f"{WAIT}:{place}" for place in range(len(SECONDS_BUCKETS))),
    f"{WAIT}:us",
)
_PLACE_OF_OUTCOME: Final = {outcome: _NAMES.index(outcome) for outcome in Outcome}
# What is kept of each minute: the field, and its place.
_OF_A_MINUTE: Final = tuple((f"\n{name}", _NAMES.index(name)) for name in (STARTED, *Outcome, f"{WAIT}:us"))
_PLACE_OF_RUN, _PLACE_OF_RUN_US = _NAMES.index(f"{RUN}:0"), _NAMES.index(f"{RUN}:us")
_PLACE_OF_WAIT, _PLACE_OF_WAIT_US = _NAMES.index(f"{WAIT}:0"), _NAMES.index(f"{WAIT}:us")


class RunStats:
    """What one worker process counts.

    Args:
        redis: a client that blocks, for the lease's thread.
        to_redis_ms: turns a `local_time` into Redis' time, as far as this process knows it.
    """

    def __init__(self, redis: BlockingCommands, keys: QueueKeys, *, to_redis_ms: Callable[[float], int]) -> None:
        self._redis = redis
        self._keys = keys
        self._to_redis_ms = to_redis_ms
        # By task, since this process began: the event loop alone adds to them, so that counting takes no lock.
        self._counts: defaultdict[str, list[int]] = defaultdict(_zeros)
        # What of them is in a batch already.
        self._taken: dict[str, list[int]] = {}
        # Sent, and not answered yet.
        self._batch = StatsBatch(keys)
        self._values: dict[str, int] = {}
        self._problem: str | None = None

    def started(self, delivery: Delivery, now: float) -> None:
        """A task begins to run, at a `local_time`; what becomes of it counts for that task from now on."""
        waited_ms = self._to_redis_ms(now) - int(delivery.entry.partition("-")[0])
        delivery.counts = counts = self._counts[delivery.task_name]
        counts[0] += 1
        counts[_PLACE_OF_WAIT + bisect_left(SECONDS_BUCKETS, waited_ms / 1000)] += 1
        if waited_ms > 0:
            counts[_PLACE_OF_WAIT_US] += waited_ms * 1000

    def ran(self, delivery: Delivery) -> None:
        """The function of a task that was started is over."""
        seconds, counts = delivery.seconds, delivery.counts or self._counts[_UNKNOWN]
        counts[_PLACE_OF_RUN + bisect_left(SECONDS_BUCKETS, seconds)] += 1
        counts[_PLACE_OF_RUN_US] += int(seconds * 1e6)

    def settled(self, delivery: Delivery) -> None:
        """Redis has taken what became of a task."""
        outcome = outcome_of(delivery)
        if outcome is not None:
            counts = delivery.counts or self._counts[_UNKNOWN]
            counts[_PLACE_OF_OUTCOME[outcome]] += 1

    def flush(self) -> None:
        """Add to Redis what was counted; to be called in the lease's thread.

        What Redis refuses for a while, as one that is full does, is added by a later call.

        Raises:
            RedisError: Redis is away; it is added by the next call.
        """
        self._send()
        if not self._batch:
            counted = self._take()
            tasks = {field: count for task, counts in counted.items() for field, count in _written(task, counts)}
            clean_ups, values = PROCESS_COUNTS.take(RETENTION)
            self._values |= values
            now_ms = self._to_redis_ms(local_time())
            hour, minute = self._keys.stats_of_hour(now_ms), self._keys.stats_of_minute(now_ms)
            self._batch.fill(
                {
                    self._keys.stats: tasks,
                    hour: tasks,
                    minute: _minute_of(counted),
                    self._keys.retention_stats: clean_ups,
                },
                keep_ms={hour: KEEP_HOUR_MS, minute: KEEP_MINUTE_MS},
            )
            self._send()

    def _take(self) -> Mapping[str, Sequence[int]]:
        """What was counted since the last call; the event loop goes on counting, and each list is copied at once."""
        now = {task: counts.copy() for task, counts in self._counts.copy().items()}
        before, self._taken = self._taken, now
        return {
            task: counts if task not in before else list(map(sub, counts, before[task]))
            for task, counts in now.items()
            if counts != before.get(task)
        }

    def _send(self) -> None:
        try:
            if self._batch:
                FLUSH.in_thread(self._redis, *self._batch.call())
            if self._values:
                self._redis.hset(self._keys.retention_stats, items=_flat(self._values))
        except ResponseError as error:
            if may_pass(error):
                return
            self._tell(reason(error))
        self._batch.finish()
        self._values = {}

    def _tell(self, problem: str) -> None:
        if problem != self._problem:
            logger.warning("What becomes of tasks cannot be counted: %s", problem)
        self._problem = problem


def _flat(values: Mapping[str, int]) -> list[str | int]:
    return [one for pair in values.items() for one in pair]


def _zeros() -> list[int]:
    return [0] * len(_NAMES)


def _written(task: str, counts: Sequence[int]) -> Iterator[tuple[str, int]]:
    """Fields and increments."""
    for name, count in zip(_NAMES, counts, strict=True):
        if count:
            yield f"{task}\n{name}", count


def _minute_of(counted: Mapping[str, Sequence[int]]) -> Mapping[str, int]:
    """What is kept of each minute: how all tasks together fared, and of each how many did not succeed."""
    found: Counter[str] = Counter()
    for task, counts in counted.items():
        for name, place in _OF_A_MINUTE:
            found[name] += counts[place]
        found[f"{task}\n{PROBLEMS_FIELD}"] += sum(counts[_PLACE_OF_OUTCOME[outcome]] for outcome in PROBLEMS)
    return +found


def outcome_of(delivery: Delivery) -> Outcome | None:
    """How a settled delivery ended; None where the message was left to other workers."""
    if delivery.is_cancelled:
        return Outcome.CANCELLED
    if delivery.outcome is not DONE:
        if isinstance(delivery.outcome, Left):
            return None
        if isinstance(delivery.outcome, Again):
            return Outcome.RETRIED
        if isinstance(delivery.outcome, Dead):
            return Outcome.DEAD
    # A result that could not be stored, or not as JSON, is that of a failed task as well.
    has_failed = delivery.has_failed or delivery.result.startswith(FAILED_RESULT)
    return Outcome.FAILED if has_failed else Outcome.SUCCEEDED
