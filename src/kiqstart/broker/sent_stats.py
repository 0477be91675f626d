"""Which tasks a program sends: counted in its memory as Redis takes them, and added up in Redis every few seconds.

A send costs no command for it. What an event loop has not added when it ends, it adds then, unless another one did just
before: a program that begins a loop for each call is not held up by each. What is left then goes with the next loop, or
when the program exits. A program that is killed loses the counts of some seconds, and nothing else.
"""

import asyncio
import atexit
import threading
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from logging import getLogger
from operator import attrgetter
from typing import Final, Protocol
from weakref import ref

from redis.exceptions import RedisError

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.stats_batch import FLUSH, SENT, StatsBatch
from kiqstart.clock import local_time
from kiqstart.processes.forks import tell_of_forks
from kiqstart.redis.commands import ScriptClient
from kiqstart.redis.connections import RedisConnections

logger = getLogger(__name__)

SECONDS_BETWEEN_FLUSHES: Final = 5.0
_SECONDS_AT_EXIT: Final = 1.0
# Of whoever makes up names: the others are not counted.
_MOST_NAMES: Final = 1000
_TASK_OF: Final = attrgetter("task")


class Counted(Protocol):
    """A message that was sent."""

    @property
    def task(self) -> str:
        """Its task's name; '' for one that is not counted."""
        ...


class SentStats:
    """What a process has sent with one broker and no event loop has added yet."""

    def __init__(self, connections: RedisConnections, keys: QueueKeys) -> None:
        self._connections = connections
        self.keys = keys
        self._lock = threading.Lock()
        self._left: Counter[str] = Counter()
        self._flushed_at = float("-inf")
        self._is_told_of_exit = False
        self._problem: str | None = None
        tell_of_forks(self)

    def counter(self, redis: ScriptClient) -> "SentCounter":
        """What counts in the running event loop.

        Args:
            redis: that loop's client.
        """
        return SentCounter(self, redis)

    def may_flush(self) -> bool:
        """Whether a loop that ends may add what it has; the one that asks does so."""
        with self._lock:
            now = local_time()
            may_flush = now - self._flushed_at >= SECONDS_BETWEEN_FLUSHES
            if may_flush:
                self._flushed_at = now
            return may_flush

    def leave(self, counts: Mapping[str, int]) -> None:
        """Leave counts to the next loop, or to the end of the program."""
        with self._lock:
            self._left.update(counts)
            if self._left and not self._is_told_of_exit:
                self._is_told_of_exit = True
                atexit.register(_flush_at_exit, ref(self))

    def take(self) -> Mapping[str, int]:
        """What loops have left."""
        if not self._left:
            return {}
        with self._lock:
            left, self._left = self._left, Counter()
            return left

    def flush_at_exit(self) -> None:
        """Add what is left, on a connection of its own; where Redis is away, it is lost."""
        left = self.take()
        if not left:
            return
        batch = batch_of(self.keys, left)
        with suppress(RedisError, OSError):
            client = self._connections.sync_client(timeout=_SECONDS_AT_EXIT)
            try:
                FLUSH.in_thread(client, *batch.call())
            finally:
                client.close()

    def tell(self, problem: str) -> None:
        """Say once why nothing can be counted."""
        if problem != self._problem:
            logger.warning("What this program sends cannot be counted: %s", problem)
        self._problem = problem

    def after_fork(self) -> None:
        """In a child: what the parent has sent is the parent's to add."""
        self._lock = threading.Lock()
        self._left = Counter()


class SentCounter:
    """Counts what one event loop sends, in that loop."""

    def __init__(self, stats: SentStats, redis: ScriptClient) -> None:
        self._stats = stats
        self._redis = redis
        self._counts: Counter[str] = Counter()
        self._batch = StatsBatch(stats.keys)
        self._timer: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[None] | None = None
        tell_of_forks(self)

    def count(self, sent: Sequence[Counted], but: Collection[int] = ()) -> None:
        """Count messages that Redis has taken.

        Args:
            sent: all of a batch.
            but: the places of those that it has not.
        """
        if len(sent) == 1:
            task = sent[0].task
            self._counts[task] = self._counts.get(task, 0) + 1
        else:
            self._counts.update(map(_TASK_OF, sent))
        for place in but:
            self._counts[sent[place].task] -= 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SECONDS_BETWEEN_FLUSHES, self._begin_flush)

    async def flush(self) -> None:
        """Add to Redis what was counted; where it is away, a later call does."""
        if not self._batch:
            counts, self._counts = self._counts, Counter()
            counts.update(self._stats.take())
            self._batch = batch_of(self._stats.keys, counts)
        if self._batch and (problem := await self._batch.send(self._redis)):
            self._stats.tell(problem)

    async def close(self) -> None:
        """Add what was counted, or leave it to others."""
        if self._timer is not None:
            self._timer.cancel()
        if self._flushing is not None and not self._flushing.done():
            await self._flushing
        if (self._counts or self._batch) and self._stats.may_flush():
            await self.flush()
        self._stats.leave(self._counts)
        self._counts = Counter()

    def after_fork(self) -> None:
        """In a child: what the parent has sent is the parent's to add."""
        self._counts = Counter()
        self._batch = StatsBatch(self._stats.keys)
        self._timer = None

    def _begin_flush(self) -> None:
        self._timer = None
        self._flushing = asyncio.create_task(self._flush_in_time())

    async def _flush_in_time(self) -> None:
        await self.flush()
        if self._timer is None and (self._batch or self._counts):
            self._timer = asyncio.get_running_loop().call_later(SECONDS_BETWEEN_FLUSHES, self._begin_flush)


def batch_of(keys: QueueKeys, counts: Mapping[str, int]) -> StatsBatch:
    """A new batch of what was sent, by task."""
    batch = StatsBatch(keys)
    named = [(task, count) for task, count in counts.items() if task and count > 0]
    batch.fill({keys.stats: {f"{task}\n{SENT}": count for task, count in named[:_MOST_NAMES]}})
    return batch


def _flush_at_exit(stats: "ref[SentStats]") -> None:
    found = stats()
    if found is not None:
        found.flush_at_exit()
