"""How many tasks wait and run, and how many workers there are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from redis.exceptions import ResponseError

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.known_queues import known_queues
from kiqstart.broker.redis_retry import is_foreign_type
from kiqstart.broker.worker_group import group_of_workers
from kiqstart.redis.commands import NONE_PENDING, AsyncCommands, answer_or, milliseconds
from kiqstart.tasks.caller_types import is_utf8, shown, text


@dataclass(frozen=True, kw_only=True)
class StreamCount:
    """What is in one of a queue's streams.

    Args:
        entries: messages, those included that workers have.
        running: messages in workers' hands.
    """

    stream: str
    entries: int
    running: int


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
        TypeError: it is nothing of which there may be several, or a queue's name is no text.
        ValueError: a queue's name is no UTF-8.
        RedisError: Redis is away.
    """
    if isinstance(queues, str | bytes) or not isinstance(queues, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]  # not every caller's types are checked
        raise TypeError(f"count_tasks(…) takes queues, such as ['default', 'low'], not {shown(queues)}")
    named = {text(queue, "count_tasks(…)", "a queue's name") for queue in queues}
    for queue in named:
        if not is_utf8(queue):
            raise ValueError(f"count_tasks(…): a queue's name is UTF-8, not {shown(queue)}")
    redis, keys = broker.connection.redis, broker.keys
    names = await known_queues(broker, named)
    since = await milliseconds(redis) - round(broker.options.lease * 1000)
    async with redis.pipeline(transaction=False) as pipe:
        pipe.zcard(keys.delayed)
        pipe.zcount(keys.workers, since, "+inf")
        delayed, workers = await pipe.execute()
    group = await group_of_workers(redis, keys, broker.consumer_group_name)
    return QueueStats(
        queues=[await _count_queue(broker, name, group) for name in names],
        delayed=answer_or(delayed, 0),
        dead_letters=await broker.dead_letters.count(),
        dropped=await broker.dead_letters.dropped(),
        workers=answer_or(workers, 0),
    )


async def takeable_in(broker: StreamBroker, queue: str) -> int:
    """How many messages wait in a queue that any of its workers takes as soon as it has room.

    Not those that wait for a worker that has their task, nor those whose workers have died.

    Raises:
        RedisError: Redis is away.
    """
    redis, keys = broker.connection.redis, broker.keys
    streams = (keys.returned(queue), keys.stream(queue))
    return _of_queue(queue, await count_streams(redis, streams, broker.consumer_group_name)).waiting


async def count_streams(redis: AsyncCommands, streams: Sequence[str], group: str) -> Sequence[StreamCount]:
    """Count what is in some streams.

    Raises:
        RedisError: Redis is away, or a key holds something else.
    """
    async with redis.pipeline(transaction=False) as pipe:
        for stream in streams:
            pipe.xlen(stream)
            pipe.xpending(stream, group)
        answers = await pipe.execute(raise_on_error=False)
    return [
        StreamCount(stream=stream, entries=_number(length, stream), running=answer_or(pending, NONE_PENDING)["pending"])
        for stream, length, pending in zip(streams, answers[::2], answers[1::2], strict=True)
    ]


async def _count_queue(broker: StreamBroker, queue: str, group: str) -> QueueCount:
    redis = broker.connection.redis
    return _of_queue(queue, await count_streams(redis, broker.keys.locations(queue), group))


def _of_queue(queue: str, counts: Sequence[StreamCount]) -> QueueCount:
    entries, running = sum(one.entries for one in counts), sum(one.running for one in counts)
    # An entry is deleted when its task has ended, so what nobody has is waiting.
    return QueueCount(queue=queue, waiting=max(entries - running, 0), running=running)


def _number(answer: object, key: str) -> int:
    if isinstance(answer, ResponseError) and is_foreign_type(answer):
        raise ResponseError(f"{answer} (key {key})")
    return answer_or(answer, 0)
