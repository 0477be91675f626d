"""How busy a worker is: it says so every few seconds, beside its beats, in a key that Redis removes."""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from redis.exceptions import ResponseError

from kiqstart.broker.delivery import local_time
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.loop_watch import LoopWatch

if TYPE_CHECKING:
    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

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
    """

    worker: str
    used: int
    loop_lag: float


class LoadReporter:
    """Says how busy this worker is; used in the lease's thread.

    Args:
        redis: a client that blocks.
    """

    def __init__(self, redis: object, keys: QueueKeys, activity: WorkerActivity) -> None:
        self._redis = cast("Redis", redis)
        self._keys = keys
        self._activity = activity
        # One that has nothing to do yet is in no haste.
        self._told_at = local_time() - _SECONDS_BETWEEN + _SECONDS_TO_FIRST
        self._is_told = False

    def report(self, worker: str, watch: LoopWatch) -> None:
        """Say it, if that is due.

        Raises:
            RedisError: Redis is away.
        """
        now, used = local_time(), self._activity.used
        if used is None or (now - self._told_at < _SECONDS_BETWEEN and (self._is_told or not used())):
            return
        self._told_at, self._is_told = now, True
        said = {"used": used(), "lag": round(watch.take_lag(), 6)}
        with suppress(ResponseError):  # nothing depends on it
            self._redis.set(self._keys.worker_load(worker), json.dumps(said), px=_KEPT_MS)


async def read_loads(redis: object, keys: QueueKeys, workers: Sequence[str]) -> list[WorkerLoad]:
    """What workers last said; without those that say nothing.

    Raises:
        RedisError: Redis is away.
    """
    if not workers:
        return []
    client = cast("AsyncRedis", redis)
    found = cast("list[bytes | None]", await client.mget([keys.worker_load(one) for one in workers]))
    loads = [_parsed(worker, said) for worker, said in zip(workers, found, strict=True) if said is not None]
    return [one for one in loads if one is not None]


def _parsed(worker: str, said: bytes) -> WorkerLoad | None:
    with suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):
        values = cast("dict[str, float | None]", json.loads(said))
        return WorkerLoad(
            worker=worker,
            used=int(values["used"] or 0),
            loop_lag=float(values["lag"] or 0.0),
        )
    return None
