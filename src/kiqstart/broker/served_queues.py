"""Which queues are taken by workers that live."""

from typing import TYPE_CHECKING, cast

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.worker_info import queues_of
from kiqstart.tasks.labels import DEFAULT_QUEUE

if TYPE_CHECKING:
    from redis.asyncio import Redis


async def served_queues(redis: object, keys: QueueKeys, *, lease: float) -> set[str]:
    """The names of the queues that some worker takes whose lease is younger than `lease` seconds.

    Raises:
        RedisError: Redis is away.
    """
    client = cast("Redis", redis)
    seconds, microseconds = await client.time()
    since = seconds * 1000 + microseconds // 1000 - round(lease * 1000)
    alive = cast("list[bytes]", await client.zrangebyscore(keys.workers, since, "+inf"))
    known = cast("list[bytes | None]", await client.hmget(keys.worker_info, alive)) if alive else []
    served = {queue for info in known for queue in queues_of(info or b"")}
    return served | {DEFAULT_QUEUE} if keys.name in served else served
