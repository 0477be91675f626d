"""Tasks that have not ended, listed: those that wait, are delayed or run; read in steps, and never more than so many.

It costs those who send and work nothing: streams, delayed messages and what workers say are read as they are.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.delayed_messages import walk_delayed
from kiqstart.broker.delivery import mark_of
from kiqstart.broker.known_queues import known_queues
from kiqstart.broker.redis_retry import without_foreign_keys
from kiqstart.broker.run_filter import RunFilter
from kiqstart.broker.run_needles import Needles
from kiqstart.broker.run_pages import read_blocks, read_pages_onward
from kiqstart.broker.running_tasks import Holdings, Pending, pending_of
from kiqstart.broker.stats import StreamCount, count_streams
from kiqstart.broker.walks import merged
from kiqstart.broker.whereabouts import Place, Whereabouts, delayed_task, sent_ms, waiting_task
from kiqstart.broker.worker_group import first_undelivered, group_of_workers
from kiqstart.redis.commands import AsyncCommands
from kiqstart.tasks.caller_types import is_utf8
from kiqstart.tasks.sealing.secrets import Secrets

MOST_LOOKED_AT: Final = 10_000
"""Tasks."""
_STREAMS_AT_ONCE: Final = 500
_ENTRIES_AT_ONCE: Final = 500
# Of those that run, each is asked for by its id.
_RUNNING_AT_ONCE: Final = 100


@dataclass(frozen=True, kw_only=True)
class Outstanding:
    """Tasks that have not ended.

    Args:
        tasks: those that fit: what waits longest, is due first or has run longest before the others.
        looked_at: how many tasks were looked at for these.
        not_looked_at: how many more there are, of all queues or of the one that was named; about, while work goes on.
    """

    tasks: Sequence[Whereabouts]
    looked_at: int
    not_looked_at: int


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """A task that may fit.

    Args:
        at: milliseconds of Redis' clock, by which those of several streams are ordered.
        data: its message.
        task: makes what is shown of it.
    """

    at: float
    data: bytes
    task: Callable[[], Whereabouts]


async def read_outstanding(
    broker: StreamBroker,
    place: Place,
    which: RunFilter,
    *,
    limit: int = 100,
    most: int = MOST_LOOKED_AT,
) -> Outstanding:
    """Those in one place that fit, of the first `most` that are there; what a filter says of ended runs is ignored.

    Raises:
        RedisError: Redis is away.
    """
    total, candidates = await _CANDIDATES[place](broker, which.queue, most)
    needles = Needles.of(_of_message(which, place), are_readable=not broker.secrets.can_decrypt)
    tasks: list[Whereabouts] = []
    looked_at, is_over = 0, False
    async with aclosing(candidates):
        while looked_at < most and len(tasks) < limit and not is_over:
            one = await anext(candidates, None)
            is_over = one is None
            if one is not None:
                looked_at += 1
                if needles.are_in(one.data) and which.fits_described(task := one.task()):
                    tasks.append(task)
    # Some may have ended since they were counted.
    left = total - (most if is_over else looked_at)
    return Outstanding(tasks=tasks, looked_at=looked_at, not_looked_at=max(left, 0))


def _of_message(which: RunFilter, place: Place) -> RunFilter:
    """What of a filter is to be found in a message: its queue is not, nor the worker that has it."""
    return replace(which, queue=None, outcome=None, text=None if place is Place.RUNNING else which.text)


async def _waiting(broker: StreamBroker, queue: str | None, _: int) -> tuple[int, AsyncGenerator[_Candidate]]:
    redis, secrets = broker.connection.redis, broker.secrets
    group, counts = await _count(broker, queue)
    waiting = [(name, one.stream) for name, one in counts if one.entries > one.running]

    async def walk(name: str, stream: str) -> AsyncGenerator[_Candidate]:
        after = await first_undelivered(redis, stream, group)
        async with aclosing(read_pages_onward(redis, stream, after, most=_ENTRIES_AT_ONCE)) as pages:
            async for page in pages:
                for entry, fields in page:
                    task = partial(waiting_task, name, entry, fields, secrets)
                    yield _Candidate(at=sent_ms(entry), data=fields.get(b"data", b""), task=task)

    total = sum(max(one.entries - one.running, 0) for _, one in counts)
    return total, merged([walk(name, stream) for name, stream in waiting], lambda one: one.at)


async def _delayed(broker: StreamBroker, _: str | None, __: int) -> tuple[int, AsyncGenerator[_Candidate]]:
    redis, keys, secrets = broker.connection.redis, broker.keys, broker.secrets
    total = 0
    with without_foreign_keys():
        total = await redis.zcard(keys.delayed)

    async def walk() -> AsyncGenerator[_Candidate]:
        async with aclosing(walk_delayed(redis, keys)) as messages:
            async for due_ms, message in messages:
                queue, data = ("", b"") if message is None else (message.queue, message.data)
                yield _Candidate(at=due_ms, data=data, task=partial(delayed_task, queue, due_ms, data, secrets))

    return total, walk()


async def _running(broker: StreamBroker, queue: str | None, most: int) -> tuple[int, AsyncGenerator[_Candidate]]:
    redis, secrets = broker.connection.redis, broker.secrets
    group, counts = await _count(broker, queue)
    queues = {one.stream: name for name, one in counts if one.running}
    pending: list[Pending] = []
    for stream in queues:
        pending += await pending_of(redis, stream, group, most=most - len(pending))
    holdings = await Holdings.read(redis, broker.keys, secrets)
    pending.sort(key=holdings.since)

    async def walk() -> AsyncGenerator[_Candidate]:
        for first in range(0, len(pending), _RUNNING_AT_ONCE):
            some = pending[first : first + _RUNNING_AT_ONCE]
            entries = await _entries(redis, some)
            for one in some:
                # What has ended since is not there any more.
                if (fields := entries.get(one.mark)) is not None:
                    task = partial(_running_task, queues[one.stream], one, fields, holdings, secrets)
                    yield _Candidate(at=0.0, data=fields.get(b"data", b""), task=task)

    return sum(one.running for _, one in counts), walk()


_CANDIDATES: Final[
    Mapping[Place, Callable[[StreamBroker, str | None, int], Awaitable[tuple[int, AsyncGenerator[_Candidate]]]]]
] = {Place.WAITING: _waiting, Place.DELAYED: _delayed, Place.RUNNING: _running}


async def _count(broker: StreamBroker, queue: str | None) -> tuple[str, list[tuple[str, StreamCount]]]:
    """The workers' group, and what is in the streams of a queue, or of all, each with its queue."""
    redis, keys = broker.connection.redis, broker.keys
    if queue is None:
        names = await known_queues(broker, broker.queues)
    else:
        names = [queue] if is_utf8(queue) else []
    group = await group_of_workers(redis, keys, broker.consumer_group_name)
    queues = {stream: name for name in names for stream in keys.locations(name)}
    streams, counts = list(queues), list[StreamCount]()
    for first in range(0, len(streams), _STREAMS_AT_ONCE):
        counts += await count_streams(redis, streams[first : first + _STREAMS_AT_ONCE], group)
    return group, [(queues[one.stream], one) for one in counts]


async def _entries(redis: AsyncCommands, pending: Sequence[Pending]) -> dict[str, Mapping[bytes, bytes]]:
    """The fields of entries that are still there, by the marks of their runs."""
    found: dict[str, Mapping[bytes, bytes]] = {}
    for stream in {one.stream for one in pending}:
        ids = [one.entry for one in pending if one.stream == stream]
        found |= {mark_of(stream, entry.decode()): fields for entry, fields in await read_blocks(redis, stream, ids)}
    return found


def _running_task(
    queue: str, pending: Pending, fields: Mapping[bytes, bytes], holdings: Holdings, secrets: Secrets
) -> Whereabouts:
    return holdings.running_task(waiting_task(queue, pending.entry, fields, secrets), pending)
