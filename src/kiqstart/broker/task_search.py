"""Finds tasks that have not ended, wherever they are."""

from collections.abc import AsyncGenerator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.delayed_messages import read_delayed
from kiqstart.broker.delivery import local_time
from kiqstart.broker.redis_retry import without_foreign_keys
from kiqstart.broker.redis_text import plain_in_json, queue_names
from kiqstart.broker.run_pages import read_pages_onward, read_pages_onward_with
from kiqstart.broker.running_tasks import Holdings, pending_of
from kiqstart.broker.whereabouts import Whereabouts, delayed_task, waiting_task
from kiqstart.broker.worker_group import group_of_workers

if TYPE_CHECKING:
    from redis.asyncio import Redis

_IDS_AT_ONCE: Final = 500
_ENTRIES_AT_ONCE: Final = 500
SECONDS_TO_LOOK: Final = 5.0
"""Through the queues."""


@dataclass(frozen=True, kw_only=True)
class FoundTask:
    """What a search has found.

    Args:
        now: where the task is; None where it was not found.
        is_complete: whether it was found, or all queues were looked through.
    """

    now: Whereabouts | None
    is_complete: bool


async def find_task(broker: StreamBroker, task_id: str) -> Whereabouts | None:
    """Where a task is now; None where it is nowhere, or was not met in five seconds of looking through the queues.

    Raises:
        RedisError: Redis is away.
    """
    return (await search_task(broker, task_id)).now


async def search_task(broker: StreamBroker, task_id: str, *, seconds: float = SECONDS_TO_LOOK) -> FoundTask:
    """Look for a task, through the queues for so many seconds.

    Raises:
        RedisError: Redis is away.
    """
    redis, keys = cast("Redis", broker.connection.redis), broker.keys
    due: float | None = None
    with without_foreign_keys():
        [due] = await redis.zmscore(keys.delayed, [task_id])
    walk = _Walk(broker, seconds, plain_in_json(task_id))
    async with aclosing(walk.entries()) as entries:
        async for queue, stream, entry, fields in entries:
            if broker.task_id_of(fields.get(b"data", b"")) == task_id:
                return FoundTask(now=await _at(broker, queue, stream, entry, fields), is_complete=True)
    if due is None:
        return FoundTask(now=None, is_complete=walk.is_complete)
    [stored] = await read_delayed(redis, keys, [task_id])
    queue, data = ("", b"") if stored is None else (stored.queue, stored.data)
    return FoundTask(now=delayed_task(queue, due, data, broker.secrets), is_complete=True)


async def which_have_not_ended(broker: StreamBroker, task_ids: AbstractSet[str]) -> set[str]:
    """Those of several tasks that are anywhere, as far as five seconds of looking through the queues show.

    Raises:
        RedisError: Redis is away.
    """
    if not task_ids:
        return set()
    redis, keys, names = cast("Redis", broker.connection.redis), broker.keys, sorted(task_ids)
    found = set[str]()
    for some in (names[first : first + _IDS_AT_ONCE] for first in range(0, len(names), _IDS_AT_ONCE)):
        with without_foreign_keys():
            scores = await redis.zmscore(keys.delayed, some)
            found |= {name for name, due in zip(some, scores, strict=True) if due is not None}
    async with aclosing(_Walk(broker, SECONDS_TO_LOOK).entries()) as entries:
        async for _, _, _, fields in entries:
            task_id = broker.task_id_of(fields.get(b"data", b""))
            if task_id in task_ids:
                found.add(cast("str", task_id))
    return found


class _Walk:
    """A walk through the messages of all queues, for so many seconds.

    Args:
        needle: what a message has to hold; None for all messages.
    """

    def __init__(self, broker: StreamBroker, seconds: float, needle: bytes | None = None) -> None:
        self._broker = broker
        self._until = local_time() + seconds
        self._needle = needle
        self.is_complete = True
        """Whether it came to the end, as far as it went."""

    async def entries(self) -> AsyncGenerator[tuple[str, str, bytes, Mapping[bytes, bytes]]]:
        """Entries with their queues, streams and ids; of each queue, those that are given to workers first."""
        redis = cast("Redis", self._broker.connection.redis)
        for queue in await self._queues():
            for stream in self._broker.keys.locations(queue):
                async with aclosing(self._pages(redis, stream)) as pages:
                    async for page in pages:
                        for entry, fields in page:
                            yield queue, stream, entry, fields
                        if local_time() >= self._until:
                            self.is_complete = False
                            return

    def _pages(self, redis: "Redis", stream: str) -> AsyncGenerator[list[tuple[bytes, dict[bytes, bytes]]]]:
        if self._needle is not None:
            return read_pages_onward_with(redis, stream, [self._needle])
        return read_pages_onward(redis, stream, most=_ENTRIES_AT_ONCE)

    async def _queues(self) -> list[str]:
        redis, keys = cast("Redis", self._broker.connection.redis), self._broker.keys
        found: set[bytes] = set()
        for key in (keys.queues, keys.untaken):
            with without_foreign_keys():
                found |= cast("set[bytes]", await redis.smembers(key))
        return sorted({*self._broker.queues, *queue_names(found)})


async def _at(
    broker: StreamBroker, queue: str, stream: str, entry: bytes, fields: Mapping[bytes, bytes]
) -> Whereabouts:
    redis, keys, secrets = cast("Redis", broker.connection.redis), broker.keys, broker.secrets
    waiting = waiting_task(queue, entry, fields, secrets)
    group = await group_of_workers(redis, keys, broker.consumer_group_name)
    pending = await pending_of(redis, stream, group, first=entry.decode(), last=entry.decode(), most=1)
    if not pending:
        return waiting
    return (await Holdings.read(redis, keys, secrets)).running_task(waiting, pending[0])
