"""Which queues are taken by workers that live."""

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.worker_info import queues_of
from kiqstart.redis.commands import AsyncCommands, milliseconds
from kiqstart.tasks.labels import DEFAULT_QUEUE


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
