"""The consumer group by which a queue is taken, whatever this program's own setting is."""

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
    try:
        return behind_delivered(await redis.xinfo_groups(stream), group)
    except ResponseError as error:
        return behind_delivered(error, group)


def behind_delivered(groups: object, group: str) -> str:
    """The same of what Redis has answered when it was asked for a stream's groups.

    Raises:
        RedisError: it was such an error, and not that there is no stream.
    """
    if isinstance(groups, Exception):
        if isinstance(groups, ResponseError):  # no such stream
            return "-"
        raise groups
    found = cast("list[dict[str, object]]", groups)
    last = next((one["last-delivered-id"] for one in found if _text(one["name"]) == group), None)
    return f"({_text(last)}" if last is not None else "-"


def _text(value: object) -> str:
    return text_of_name(value) if isinstance(value, bytes) else str(value)
