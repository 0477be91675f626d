"""The consumer group by which a queue is taken, whatever this program's own setting is."""

from typing import TYPE_CHECKING, cast

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.redis_retry import without_foreign_keys
from kiqstart.broker.redis_text import text_of_name

if TYPE_CHECKING:
    from redis.asyncio import Redis


async def group_of_workers(redis: "Redis", keys: QueueKeys, default: str) -> str:
    """The group that workers have named when they registered; `default` where none has.

    Raises:
        RedisError: Redis is away.
    """
    known = None
    with without_foreign_keys():
        known = cast("bytes | None", await redis.get(keys.group))
    return default if known is None else text_of_name(known)
