"""The consumer group by which a queue is taken, whatever this program's own setting is."""

from contextlib import suppress
from typing import TYPE_CHECKING, cast

from redis.exceptions import ResponseError

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


async def first_undelivered(redis: "Redis", stream: str, group: str) -> str:
    """From where on nobody has had a stream's entries: `-`, or an id that is left out, written `(id`.

    Raises:
        RedisError: Redis is away.
    """
    with suppress(ResponseError):  # no such stream
        for one in cast("list[dict[str, bytes | int | None]]", await redis.xinfo_groups(stream)):
            if _text(one["name"]) == group:
                return f"({_text(one['last-delivered-id'])}"
    return "-"


def _text(value: object) -> str:
    return text_of_name(value) if isinstance(value, bytes) else str(value)
