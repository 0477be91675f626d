"""How busy a worker is: it says so every few seconds, beside its beats, in a key that Redis removes.

A worker whose event loop is blocked says that at once, and again as soon as the loop turns.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, cast

from redis.exceptions import ResponseError

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.loop_watch import LoopWatch
from kiqstart.broker.redis_text import raw_name
from kiqstart.clock import local_time
from kiqstart.redis.commands import AsyncCommands, BlockingCommands

_SECONDS_BETWEEN: Final = 15.0
_SECONDS_TO_FIRST: Final = 5.0
_KEPT_MS: Final = 60_000


@dataclass(kw_only=True)
class WorkerActivity:
    """What a worker's receiver does.

    Attributes:
        used: gives how many of its slots have a task; None: the receiver does not say.
        is_taking: whether it waits for messages now, since it has room for some.
        taken: messages that it has taken from its queues so far.
    """

    used: Callable[[], int] | None = None
    is_taking: bool = False
    taken: int = 0


@dataclass(frozen=True, kw_only=True)
class WorkerLoad:
    """How busy a worker said it is.

    Args:
        used: how many of its slots have a task.
        loop_lag: the longest that its event loop has let others wait in the last 15 seconds, in seconds.
        blocked_since_ms: since when its event loop does nothing, by Redis' clock; None where it turns.
    """

    used: int
    loop_lag: float
    blocked_since_ms: int | None = None

    def blocked_seconds(self, now_ms: int) -> float | None:
        """For how long its event loop does nothing, at a time of Redis' clock; None where it turns."""
        return None if self.blocked_since_ms is None else max((now_ms - self.blocked_since_ms) / 1000, 0.0)


class LoadReporter:
    """Says how busy this worker is; used in the lease's thread.

    Args:
        redis: a client that blocks.
        to_redis_ms: turns a `local_time` into Redis' time, as far as this process knows it.
    """

    def __init__(
        self, redis: BlockingCommands, keys: QueueKeys, activity: WorkerActivity, *, to_redis_ms: Callable[[float], int]
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._activity = activity
        self._to_redis_ms = to_redis_ms
        # One that has nothing to do yet is in no haste.
        self._told_at = local_time() - _SECONDS_BETWEEN + _SECONDS_TO_FIRST
        # Of which worker, since its name may change, and whether it was blocked.
        self._told: tuple[str, bool] | None = None

    def report(self, worker: str, watch: LoopWatch, blocked_since: float | None) -> None:
        """Say it, if that is due, or if the event loop is blocked since the last time or is no more.

        Args:
            worker: this one's name in Redis.
            watch: of the event loop.
            blocked_since: the `local_time` since which that does nothing; None where it turns.

        Raises:
            RedisError: Redis is away.
        """
        now, used, telling = local_time(), self._activity.used, (worker, blocked_since is not None)
        if used is None or not self._is_due(now, telling, used):
            return
        said: dict[str, float] = {"used": used(), "lag": round(watch.take_lag(), 6)}
        if blocked_since is not None:
            said["blocked"] = self._to_redis_ms(blocked_since)
        with suppress(ResponseError):  # nothing depends on it
            self._redis.set(self._keys.worker_load(worker), json.dumps(said), px=_KEPT_MS)
        self._told_at, self._told = now, telling

    def _is_due(self, now: float, telling: tuple[str, bool], used: Callable[[], int]) -> bool:
        if now - self._told_at >= _SECONDS_BETWEEN:
            return True
        if self._told is None:
            _, is_blocked = telling
            return is_blocked or used() > 0
        return telling != self._told


async def read_loads(redis: AsyncCommands, keys: QueueKeys, workers: Sequence[str]) -> Mapping[str, WorkerLoad]:
    """What workers last said, by their names; without those that say nothing.

    Raises:
        RedisError: Redis is away.
    """
    if not workers:
        return {}
    found = await redis.mget([raw_name(keys.worker_load(one)) for one in workers])
    loads = {worker: _parsed(said) for worker, said in zip(workers, found, strict=True) if said is not None}
    return {worker: load for worker, load in loads.items() if load is not None}


def _parsed(said: bytes) -> WorkerLoad | None:
    with suppress(ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        values = cast("dict[str, float | None]", json.loads(said))
        blocked = values.get("blocked")
        return WorkerLoad(
            used=int(values["used"] or 0),
            loop_lag=float(values["lag"] or 0.0),
            blocked_since_ms=None if blocked is None else int(blocked),
        )
    return None
