"""Where a task is that has not ended: it waits, is due later, or a worker has it."""

from collections.abc import AsyncGenerator
from collections.abc import Set as AbstractSet
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, cast

from redis.exceptions import ResponseError

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.delivery import local_time
from kiqstart.broker.entry_search import EntrySearch
from kiqstart.broker.redis_retry import without_foreign_keys
from kiqstart.broker.redis_text import queue_names, text_of_name
from kiqstart.broker.running import read_progress
from kiqstart.broker.worker_group import group_of_workers
from kiqstart.broker.worker_info import place_of
from kiqstart.errors import OperatorError
from kiqstart.tasks.progress import Progress

if TYPE_CHECKING:
    from redis.asyncio import Redis

SECONDS_TO_FIND: Final = 0.7
"""For how long queues are looked through for somebody who waits for a page."""
_ENTRIES_AT_ONCE: Final = 500
_SECONDS_TO_LOOK: Final = 5.0


class Place(StrEnum):
    """Where a task is."""

    DELAYED = "delayed"
    WAITING = "waiting"
    RUNNING = "running"
    """A worker has it; it runs, or is about to."""


@dataclass(frozen=True, kw_only=True)
class Whereabouts:
    """Where a task is now.

    Args:
        place: where.
        since: when it was put there; of a delayed one, when it is due.
        queue: '' for a delayed one.
        worker: the name of the worker that has it; '' where none has.
        host: the worker's.
        pid: the worker's; 0 where none has it, or where it has not said so.
        progress: how far it says it is; None where it does not say so.
    """

    place: Place
    since: datetime
    queue: str = ""
    worker: str = ""
    host: str = ""
    pid: int = 0
    progress: Progress | None = None


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
        async for queue, stream, entry in entries:
            found = await _look(broker, queue, stream, entry)
            if found is not None:
                return found
    if due is None:
        # One that ran when this began may be due for its next try.
        due = await _due(broker, task_id)
    if due is not None:
        with suppress(ValueError, OverflowError, OSError):
            return Whereabouts(place=Place.DELAYED, since=datetime.fromtimestamp(due / 1000, UTC))
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
    redis, keys, names = cast("Redis", broker.connection.redis), broker.keys, sorted(task_ids)
    found = set[str]()
    for some in (names[first : first + _ENTRIES_AT_ONCE] for first in range(0, len(names), _ENTRIES_AT_ONCE)):
        with without_foreign_keys():
            scores = await redis.zmscore(keys.delayed, some)
            found |= {name for name, due in zip(some, scores, strict=True) if due is not None}
    async for _, _, _, data in _all_entries(broker):
        task_id = broker.task_id_of(data)
        if task_id in task_ids:
            found.add(cast("str", task_id))
    return found


async def _look(broker: StreamBroker, queue: str, stream: str, entry: bytes) -> Whereabouts | None:
    redis = cast("Redis", broker.connection.redis)
    sent = int(entry.partition(b"-")[0])
    pending: list[dict[str, object]] = []
    group = await group_of_workers(redis, broker.keys, broker.consumer_group_name)
    with suppress(ResponseError):  # no such group
        pending = cast(
            "list[dict[str, object]]",
            await redis.xpending_range(stream, group, min=entry, max=entry, count=1),
        )
    try:
        if not pending:
            return Whereabouts(place=Place.WAITING, since=datetime.fromtimestamp(sent / 1000, UTC), queue=queue)
        seconds, micros = await redis.time()
        name = cast("bytes", pending[0]["consumer"])
        since = seconds + micros / 1e6 - cast("int", pending[0]["time_since_delivered"]) / 1000
        [info] = cast("list[bytes | None]", await redis.hmget(broker.keys.worker_info, [cast("str", name)]))
        host, pid = place_of(info or b"")
        mark = f"{entry.decode()}@{stream}"
        return Whereabouts(
            place=Place.RUNNING,
            since=datetime.fromtimestamp(since, UTC),
            queue=queue,
            worker=text_of_name(name),
            host=host,
            pid=pid,
            progress=await read_progress(redis, broker.keys, name, mark, broker.secrets),
        )
    except (ValueError, OverflowError, OSError):
        return None


async def _due(broker: StreamBroker, task_id: str) -> float | None:
    """When a delayed task is due, in milliseconds."""
    due: float | None = None
    with without_foreign_keys():
        [due] = await cast("Redis", broker.connection.redis).zmscore(broker.keys.delayed, [task_id])
    return due


async def _all_entries(broker: StreamBroker) -> AsyncGenerator[tuple[str, str, bytes, bytes]]:
    """The entries of all queues and their messages, those that workers have before those that wait."""
    redis, keys = cast("Redis", broker.connection.redis), broker.keys
    found: set[bytes] = set()
    for key in (keys.queues, keys.untaken):
        with without_foreign_keys():
            found |= cast("set[bytes]", await redis.smembers(key))
    until = local_time() + _SECONDS_TO_LOOK
    for queue in sorted({*broker.queues, *queue_names(found)}):
        for stream in keys.locations(queue):
            start = "-"
            while start and local_time() < until:
                entries: list[tuple[bytes, dict[bytes, bytes]]] = []
                with without_foreign_keys():
                    entries = cast(
                        "list[tuple[bytes, dict[bytes, bytes]]]",
                        await redis.xrange(stream, min=start, max="+", count=_ENTRIES_AT_ONCE),
                    )
                for entry, fields in entries:
                    yield queue, stream, entry, fields.get(b"data", b"")
                start = f"({entries[-1][0].decode()}" if len(entries) == _ENTRIES_AT_ONCE else ""
