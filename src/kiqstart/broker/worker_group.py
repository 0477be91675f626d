"""The consumer group by which a queue is taken, whatever this program's own setting is."""

from collections.abc import Sequence
from contextlib import suppress

from redis.exceptions import ResponseError

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.redis_retry import without_foreign_keys
from kiqstart.broker.redis_text import text_of_name
from kiqstart.redis.commands import AsyncCommands, ConsumerGroup


async def group_of_workers(redis: AsyncCommands, keys: QueueKeys, default: str) -> str:
    """The group that workers have named when they registered; `default` where none has.

    Raises:
        RedisError: Redis is away.
    """
    known = None
    with without_foreign_keys():
        known = await redis.get(keys.group)
    return default if known is None else text_of_name(known)


async def first_undelivered(redis: AsyncCommands, stream: str, group: str) -> str:
    """From where on nobody has had a stream's entries: `-`, or an id that is left out, written `(id`.

    Raises:
        RedisError: Redis is away.
    """
    groups: list[ConsumerGroup] = []
    with suppress(ResponseError):  # no such stream
        groups = await redis.xinfo_groups(stream)
    return behind_delivered(groups, group)


def behind_delivered(groups: Sequence[ConsumerGroup], group: str) -> str:
    """The same, of a stream's groups."""
    last = next((one["last-delivered-id"] for one in groups if text_of_name(one["name"]) == group), None)
    return f"({text_of_name(last)}" if last is not None else "-"
