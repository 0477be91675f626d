"""Finds tasks that have not ended, wherever they are."""

from collections.abc import AsyncGenerator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from typing import Final, cast

from redis.exceptions import NoPermissionError

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.delayed_messages import read_delayed
from kiqstart.broker.entry_search import EntrySearch
from kiqstart.broker.known_queues import every_queue
from kiqstart.broker.redis_retry import without_foreign_keys
from kiqstart.broker.redis_text import raw_name
from kiqstart.broker.run_pages import read_pages_onward
from kiqstart.broker.running_tasks import Holdings, pending_of
from kiqstart.broker.whereabouts import Whereabouts, delayed_task, waiting_task
from kiqstart.broker.worker_group import group_of_workers
from kiqstart.clock import local_time
from kiqstart.errors import OperatorError

SECONDS_TO_FIND: Final = 0.7
"""For how long queues are looked through for somebody who waits for a page."""
_ENTRIES_AT_ONCE: Final = 500
_SECONDS_TO_LOOK: Final = 5.0


class TaskNotFoundInTimeError(OperatorError):
    """So many messages are in the queues that not all of them were looked through."""


async def find_task(broker: StreamBroker, task_id: str, *, seconds: float = SECONDS_TO_FIND) -> Whereabouts | None:
    """Where a task is now; None where it is nowhere.

    Args:
        broker: in whose queues it may be.
        task_id: its id.
        seconds: after which the queues are looked through no further.

    Raises:
        TaskNotFoundInTimeError: it was not met within this time, and may be among those that were not looked at.
        RedisError: Redis is away.
    """
    due = await _due(broker, task_id)
    search = EntrySearch(broker, task_id, seconds=seconds)
    async with aclosing(search.entries()) as entries:
        async for queue, stream, entry, fields in entries:
            return await _at(broker, queue, stream, entry, fields)
    if due is None:
        # One that ran when this began may be due for its next try.
        due = await _due(broker, task_id)
    if due is not None:
        return await _delayed(broker, task_id, due)
    if not search.is_complete:
        raise TaskNotFoundInTimeError(
            f"it is not among the first {search.count:,} messages of the queues, and there are more than can be looked "
            f"through in {seconds:g} s"
        )
    return None


async def which_have_not_ended(broker: StreamBroker, task_ids: AbstractSet[str]) -> set[str]:
    """Those of several tasks that are anywhere, as far as five seconds of looking through the queues show.

    Raises:
        RedisError: Redis is away.
    """
    if not task_ids:
        return set()
    redis, keys, names = broker.connection.redis, broker.keys, sorted(task_ids)
    found = set[str]()
    for some in (names[first : first + _ENTRIES_AT_ONCE] for first in range(0, len(names), _ENTRIES_AT_ONCE)):
        with without_foreign_keys():
            scores = await redis.zmscore(keys.delayed, some)
            found |= {name for name, due in zip(some, scores, strict=True) if due is not None}
    async with aclosing(_all_messages(broker)) as messages:
        async for data in messages:
            task_id = broker.task_id_of(data)
            if task_id in task_ids:
                found.add(cast("str", task_id))
    return found


async def _at(
    broker: StreamBroker, queue: str, stream: str, entry: bytes, fields: Mapping[bytes, bytes]
) -> Whereabouts:
    redis, keys, secrets = broker.connection.redis, broker.keys, broker.secrets
    waiting = waiting_task(queue, entry, fields, secrets)
    group = await group_of_workers(redis, keys, broker.consumer_group_name)
    pending = await pending_of(redis, stream, group, first=entry.decode(), last=entry.decode(), most=1)
    if not pending:
        return waiting
    return (await Holdings.read(redis, keys, secrets)).running_task(waiting, pending[0])


async def _due(broker: StreamBroker, task_id: str) -> float | None:
    """When a delayed task is due, in milliseconds."""
    due: float | None = None
    with without_foreign_keys():
        [due] = await broker.connection.redis.zmscore(broker.keys.delayed, [task_id])
    return due


async def _delayed(broker: StreamBroker, task_id: str, due_ms: float) -> Whereabouts:
    redis, queue, data = broker.connection.redis, "", b""
    try:
        [stored] = await read_delayed(redis, broker.keys, [raw_name(task_id)])
    except NoPermissionError:
        # A user who may run no scripts cannot read it.
        stored = None
    if stored is not None:
        queue, data = stored.queue, stored.data
    return delayed_task(queue, due_ms, data, broker.secrets)


async def _all_messages(broker: StreamBroker) -> AsyncGenerator[bytes]:
    """The messages of all queues, those that workers have before those that wait, read for some seconds."""
    redis, queues = broker.connection.redis, await every_queue(broker)
    until = local_time() + _SECONDS_TO_LOOK
    for stream in broker.keys.all_locations(queues):
        async with aclosing(read_pages_onward(redis, stream, most=_ENTRIES_AT_ONCE)) as pages:
            async for page in pages:
                for _, fields in page:
                    yield fields.get(b"data", b"")
                if local_time() >= until:
                    return
