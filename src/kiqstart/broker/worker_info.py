"""What workers say of themselves when they register, and which queues and which group that makes."""

import json
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.redis_retry import without_foreign_keys
from kiqstart.broker.redis_text import redis_ms, text_of_name
from kiqstart.tasks.labels import DEFAULT_QUEUE

if TYPE_CHECKING:
    from redis.asyncio import Redis


def queues_of(info: bytes) -> list[str]:
    """The queues that a worker takes; none where a version does not say so, or where it is no such information."""
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        return [str(queue) for queue in cast("dict[str, list[object]]", json.loads(info))["queues"]]
    return []


def place_of(info: bytes) -> tuple[str, int]:
    """A worker's host and process id; '' and 0 where it does not say so."""
    said = _said(info)
    host, pid = said.get("host"), said.get("pid")
    return host if isinstance(host, str) else "", pid if isinstance(pid, int) else 0


def slots_of(info: bytes) -> int:
    """How many tasks a worker runs at once; 0 where it does not say so, or has no limit."""
    slots = _said(info).get("slots")
    return slots if isinstance(slots, int) and slots > 0 else 0


def _said(info: bytes) -> dict[str, object]:
    with suppress(ValueError, RecursionError):
        said = cast("object", json.loads(info))
        if isinstance(said, dict):
            return cast("dict[str, object]", said)
    return {}


async def group_of_workers(redis: "Redis", keys: QueueKeys, default: str) -> str:
    """The group that workers have named when they registered; `default` where none has."""
    known = None
    with without_foreign_keys():
        known = cast("bytes | None", await redis.get(keys.group))
    return default if known is None else text_of_name(known)


async def served_queues(redis: object, keys: QueueKeys, *, lease: float) -> set[str]:
    """The names of the queues that some worker takes whose lease is younger than `lease` seconds."""
    client = cast("Redis", redis)
    since = await redis_ms(client) - round(lease * 1000)
    alive = cast("list[bytes]", await client.zrangebyscore(keys.workers, since, "+inf"))
    known = cast("list[bytes | None]", await client.hmget(keys.worker_info, alive)) if alive else []
    served = {queue for info in known for queue in queues_of(info or b"")}
    return served | {DEFAULT_QUEUE} if keys.name in served else served
