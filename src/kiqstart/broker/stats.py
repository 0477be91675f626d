"""How many tasks wait and run, and how many workers there are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from redis.exceptions import ResponseError

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.redis_text import queue_names
from kiqstart.tasks.labels import DEFAULT_QUEUE

if TYPE_CHECKING:
    from redis.asyncio import Redis

_MOST_UNTAKEN: Final = 1000


@dataclass(frozen=True, kw_only=True)
class QueueCount:
    """What is in one queue.

    Args:
        waiting: tasks that no worker has yet.
        running: tasks in workers' hands, those included that a worker has fetched ahead.
    """

    queue: str
    waiting: int
    running: int


@dataclass(frozen=True, kw_only=True)
class QueueStats:
    """What there is of a broker's tasks.

    Args:
        delayed: tasks that are due later, retries included.
        dropped: dead letters that were ever dropped since they were too old or too many.
        workers: worker processes that have renewed their lease in time.
    """

    queues: Sequence[QueueCount]
    delayed: int
    dead_letters: int
    dropped: int
    workers: int


async def count_tasks(broker: StreamBroker, queues: Iterable[str]) -> QueueStats:
    """Count, in these queues, in all that workers have taken, and in up to 1,000 to which messages were sent.

    Raises:
        RedisError: Redis is away.
    """
    redis, keys = cast("Redis", broker.connection.redis), broker.keys
    taken = cast("set[bytes]", await redis.smembers(keys.queues))
    untaken = cast("list[bytes]", await redis.srandmember(keys.untaken, _MOST_UNTAKEN))
    known = queue_names({*taken, *untaken})
    # The key of the default queue's stream is a name of that queue, too.
    names = sorted({DEFAULT_QUEUE if queue == keys.name else queue for queue in {*queues, *known}})
    seconds, microseconds = await redis.time()
    since = seconds * 1000 + microseconds // 1000 - round(broker.options.lease * 1000)
    async with redis.pipeline(transaction=False) as pipe:
        pipe.zcard(keys.delayed)
        pipe.zcount(keys.workers, since, "+inf")
        delayed, workers = cast("tuple[int, int]", await pipe.execute())
    return QueueStats(
        queues=[await _count_queue(broker, name) for name in names],
        delayed=delayed,
        dead_letters=await broker.dead_letters.count(),
        dropped=await broker.dead_letters.dropped(),
        workers=workers,
    )


async def _count_queue(broker: StreamBroker, queue: str) -> QueueCount:
    redis, streams = cast("Redis", broker.connection.redis), broker.keys.locations(queue)
    async with redis.pipeline(transaction=False) as pipe:
        for stream in streams:
            pipe.xlen(stream)
            pipe.xpending(stream, broker.consumer_group_name)
        answers = cast("list[object]", await pipe.execute(raise_on_error=False))
    entries = sum(_number(length) for length in answers[::2])
    running = sum(_pending(answer) for answer in answers[1::2])
    # An entry is deleted when its task has ended, so what nobody has is waiting.
    return QueueCount(queue=queue, waiting=max(entries - running, 0), running=running)


def _number(answer: object) -> int:
    if isinstance(answer, Exception):
        raise answer
    return cast("int", answer)


def _pending(answer: object) -> int:
    if isinstance(answer, ResponseError) and str(answer).startswith("NOGROUP"):
        return 0
    if isinstance(answer, Exception):
        raise answer
    return cast("dict[str, int]", answer)["pending"]
