"""Which queues there are: those that tasks name, that workers take, and to which messages were sent."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from taskiq import AsyncBroker, AsyncTaskiqDecoratedTask

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.redis_retry import without_foreign_keys
from kiqstart.broker.redis_text import queue_names
from kiqstart.broker.worker_info import queues_of
from kiqstart.redis.commands import AsyncCommands, milliseconds
from kiqstart.tasks.labels import DEFAULT_QUEUE, QUEUE_LABEL

if TYPE_CHECKING:
    from kiqstart.broker.broker import StreamBroker

_MOST_UNTAKEN: Final = 1000


def queue_of_task(task: AsyncTaskiqDecoratedTask[..., object]) -> str:
    """The queue to which a task is sent."""
    return str(task.labels.get(QUEUE_LABEL, DEFAULT_QUEUE))


def queues_of_tasks(broker: AsyncBroker) -> list[str]:
    """The queues that tasks name themselves."""
    labels = [task.labels for task in broker.get_all_tasks().values()]
    return [str(one[QUEUE_LABEL]) for one in labels if QUEUE_LABEL in one]


async def names_of_queues(redis: AsyncCommands, keys: QueueKeys) -> list[str]:
    """The queues that workers have taken, and all to which messages were sent, however many.

    Raises:
        RedisError: Redis is away.
    """
    found: set[bytes] = set()
    for key in (keys.queues, keys.untaken):
        with without_foreign_keys():
            found |= await redis.smembers(key)
    return queue_names(found)


async def every_queue(broker: "StreamBroker") -> list[str]:
    """The same, and this broker's own.

    Raises:
        RedisError: Redis is away.
    """
    return sorted({*broker.queues, *await names_of_queues(broker.connection.redis, broker.keys)})


async def known_queues(broker: "StreamBroker", named: Iterable[str] = ()) -> list[str]:
    """These queues, all that workers have taken, and up to 1,000 to which messages were sent.

    Raises:
        RedisError: Redis is away.
    """
    redis, keys = broker.connection.redis, broker.keys
    taken = await redis.smembers(keys.queues)
    untaken = await redis.srandmember(keys.untaken, _MOST_UNTAKEN)
    known = queue_names({*taken, *untaken})
    return sorted(keys.names_of({*named, *known}))


async def served_queues(redis: AsyncCommands, keys: QueueKeys, *, lease: float) -> set[str]:
    """The names of the queues that some worker takes whose lease is younger than `lease` seconds.

    Raises:
        RedisError: Redis is away.
    """
    since = await milliseconds(redis) - round(lease * 1000)
    alive = await redis.zrangebyscore(keys.workers, since, "+inf")
    known = await redis.hmget(keys.worker_info, alive) if alive else []
    served = {queue for info in known for queue in queues_of(info or b"")}
    return served | {DEFAULT_QUEUE} if keys.name in served else served
