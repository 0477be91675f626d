"""What goes on in a broker just now, read at once by few commands, none of which looks through messages."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.fleet import KnownWorkers, WorkerView, worker_views
from kiqstart.broker.known_queues import queues_of_tasks
from kiqstart.broker.pauses import Pausable, field_of
from kiqstart.broker.redis_text import queue_names, text_of_name
from kiqstart.broker.task_stats import TaskStats, read_task_stats
from kiqstart.broker.worker_group import group_of_workers
from kiqstart.redis.commands import NONE_PENDING, AsyncCommands, ConsumerGroup, Entry, answer_or, milliseconds_of
from kiqstart.tasks.labels import DEFAULT_QUEUE

_MOST_UNTAKEN: Final = 100


@dataclass(frozen=True, kw_only=True)
class QueuePulse:
    """A queue just now.

    Args:
        waiting: tasks that no worker has yet, those included that are set aside.
        running: tasks in workers' hands.
        oldest_seconds: since the message was put there that waits longest; None where none waits.
        taken: messages that were ever taken; None where Redis does not count them (before version 7).
        workers: how many workers that live take it.
    """

    name: str
    waiting: int
    running: int
    oldest_seconds: float | None
    taken: int | None
    workers: int
    is_paused: bool


@dataclass(frozen=True, kw_only=True)
class Pulse:
    """What goes on in a broker just now.

    Args:
        at: by Redis' clock.
        delayed: tasks that are due later, of all queues.
        stats: what was ever counted, by task.
    """

    at: datetime
    queues: Sequence[QueuePulse]
    workers: Sequence[WorkerView]
    delayed: int
    dead_letters: int
    stats: Sequence[TaskStats]


@dataclass(frozen=True, kw_only=True)
class _Stream:
    """What is in a stream, and who has some of it."""

    entries: int
    taken: int | None
    after: str
    held: Mapping[bytes, int]

    @property
    def running(self) -> int:
        return sum(self.held.values())

    @property
    def waiting(self) -> int:
        return max(self.entries - self.running, 0)


async def read_pulse(broker: StreamBroker) -> Pulse:
    """Look once.

    Raises:
        RedisError: Redis is away.
    """
    redis, keys = broker.connection.redis, broker.keys
    async with redis.pipeline(transaction=False) as pipe:
        pipe.time()
        pipe.zrange(keys.workers, 0, -1, withscores=True)
        pipe.hgetall(keys.worker_info)
        pipe.smembers(keys.draining)
        pipe.hkeys(keys.paused)
        pipe.zcard(keys.delayed)
        pipe.xlen(keys.dead)
        pipe.smembers(keys.queues)
        pipe.srandmember(keys.untaken, _MOST_UNTAKEN)
        answers = await pipe.execute(raise_on_error=False)
    now_ms = milliseconds_of(answer_or(answers[0], (0, 0)))
    names = queue_names({*answer_or(answers[7], set[bytes]()), *answer_or(answers[8], list[bytes]())})
    queues = sorted(keys.names_of((*broker.queues, *queues_of_tasks(broker), *names)))
    streams = await _read_streams(redis, broker, queues)
    workers = await _workers(broker, answers, now_ms, streams)
    paused = set(map(text_of_name, answer_or(answers[4], list[bytes]())))
    oldest = await _oldest(redis, broker, queues, streams, now_ms)
    return Pulse(
        at=datetime.fromtimestamp(now_ms / 1000, UTC),
        queues=[
            QueuePulse(
                name=queue,
                waiting=sum(streams[one].waiting for one in keys.locations(queue)),
                running=sum(streams[one].running for one in keys.locations(queue)),
                oldest_seconds=oldest.get(queue),
                taken=streams[keys.stream(queue)].taken,
                workers=sum(queue in one.queues for one in workers if one.is_alive and not one.runs_suspects),
                is_paused=field_of(Pausable.QUEUE, keys.stream(queue)) in paused,
            )
            for queue in queues
        ],
        workers=workers,
        delayed=answer_or(answers[5], 0),
        dead_letters=answer_or(answers[6], 0),
        stats=await read_task_stats(redis, keys),
    )


async def _read_streams(redis: AsyncCommands, broker: StreamBroker, queues: Sequence[str]) -> Mapping[str, _Stream]:
    """Of streams that are empty, only that; of those of new messages also how many were ever taken."""
    group, keys = await group_of_workers(redis, broker.keys, broker.consumer_group_name), broker.keys
    names = keys.all_locations(queues)
    async with redis.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.xlen(name)
        lengths = [answer_or(one, 0) for one in await pipe.execute(raise_on_error=False)]
    mains = {keys.stream(queue) for queue in queues}
    wanted = [name for name, length in zip(names, lengths, strict=True) if length or name in mains]
    async with redis.pipeline(transaction=False) as pipe:
        for name in wanted:
            pipe.xinfo_groups(name)
            pipe.xpending(name, group)
        found = await pipe.execute(raise_on_error=False)
    known = {name: (found[2 * at], found[2 * at + 1]) for at, name in enumerate(wanted)}
    return {
        name: _stream(length, group, *known.get(name, ([], NONE_PENDING)))
        for name, length in zip(names, lengths, strict=True)
    }


def _stream(entries: int, group: str, groups: object, pending: object) -> _Stream:
    known = answer_or(groups, list[ConsumerGroup]())
    ours = next((one for one in known if text_of_name(one["name"]) == group), None)
    held = answer_or(pending, NONE_PENDING)["consumers"] or []
    return _Stream(
        entries=entries,
        taken=None if ours is None else ours.get("entries-read"),
        after="0-0" if ours is None else text_of_name(ours["last-delivered-id"]),
        held={one["name"]: one["pending"] for one in held},
    )


async def _oldest(
    redis: AsyncCommands, broker: StreamBroker, queues: Sequence[str], streams: Mapping[str, _Stream], now_ms: int
) -> Mapping[str, float]:
    """By the id of the first entry in each stream that nobody has taken."""
    wanted = [(queue, name) for queue in queues for name in broker.keys.locations(queue) if streams[name].waiting]
    async with redis.pipeline(transaction=False) as pipe:
        for _, name in wanted:
            pipe.xrange(name, min=f"({streams[name].after}", count=1)
        found = await pipe.execute(raise_on_error=False) if wanted else []
    ages: dict[str, float] = {}
    for (queue, _), answer in zip(wanted, found, strict=True):
        for entry, _ in answer_or(answer, list[Entry]()):
            age = max((now_ms - int(entry.partition(b"-")[0])) / 1000, 0.0)
            ages[queue] = max(ages.get(queue, 0.0), age)
    return ages


async def _workers(
    broker: StreamBroker, answers: Sequence[object], now_ms: int, streams: Mapping[str, _Stream]
) -> list[WorkerView]:
    held: Counter[bytes] = Counter()
    for one in streams.values():
        held.update(one.held)
    known = KnownWorkers(
        now_ms=now_ms,
        beats=answer_or(answers[1], list[tuple[bytes, float]]()),
        info=answer_or(answers[2], dict[bytes, bytes]()),
        ending=answer_or(answers[3], set[bytes]()),
        held=held,
    )
    names = {broker.keys.name: DEFAULT_QUEUE}
    views = await worker_views(broker, known)
    return [replace(one, queues=[names.get(queue, queue) for queue in one.queues]) for one in views]
