"""Which workers live and what they have, and which queues there are and who takes them."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.lease import is_ward
from kiqstart.broker.pauses import Pausable, Pause, Pauses
from kiqstart.broker.redis_text import text_of_name
from kiqstart.broker.running import RunningTask, read_running
from kiqstart.broker.stats import QueueStats, count_tasks
from kiqstart.broker.worker_group import behind_delivered, group_of_workers
from kiqstart.broker.worker_info import place_of, queues_of, slots_of
from kiqstart.broker.worker_load import read_loads
from kiqstart.redis.commands import NONE_PENDING, AsyncCommands, ConsumerGroup, Entry, answer_or, milliseconds
from kiqstart.tasks.labels import DEFAULT_QUEUE


@dataclass(frozen=True, kw_only=True)
class WorkerView:
    """A worker process, as Redis knows it.

    Args:
        name: its name in Redis, which log lines and dead letters have.
        host: of the machine; '' where it has not said so.
        pid: of the process there; 0 where it has not said so.
        queues: those that it takes.
        slots: how many tasks it runs at once; 0 where it has no limit, or has not said so.
        slots_used: how many of them have a task, as it said within the last 15 seconds; None where it has not.
        in_flight: messages that it has, those included that it has fetched ahead.
        running: what it runs for a second or longer, or reports how far it is, the longest first; up to 100.
        seconds_since_beat: since it last renewed its lease.
        loop_lag: the longest that its event loop has let others wait in its last 15 seconds, in seconds; None where it
            has not said so.
        blocked_seconds: for how long its event loop does nothing, since a task computes there; None where it turns.
        is_alive: whether the lease holds.
        is_ending: whether it was asked to end.
        runs_suspects: whether it is the process in which a worker runs tasks whose workers have died repeatedly.
    """

    name: str
    host: str
    pid: int
    queues: Sequence[str]
    slots: int
    slots_used: int | None
    in_flight: int
    running: Sequence[RunningTask]
    seconds_since_beat: float
    loop_lag: float | None
    blocked_seconds: float | None
    is_alive: bool
    is_ending: bool
    runs_suspects: bool


@dataclass(frozen=True, kw_only=True)
class QueueView:
    """A queue.

    Args:
        waiting: tasks that no worker has yet.
        running: tasks in workers' hands.
        oldest_seconds: since the message was put there that waits longest; None where none waits.
        workers: how many workers that live take it.
        paused: who has paused it; None where it is not.
    """

    name: str
    waiting: int
    running: int
    oldest_seconds: float | None
    workers: int
    paused: Pause | None = None

    @property
    def is_unserved(self) -> bool:
        """Whether tasks wait that nobody takes."""
        return self.waiting > 0 and self.workers == 0


@dataclass(frozen=True, kw_only=True)
class KnownWorkers:
    """What Redis knows of workers, each by its name there.

    Args:
        beats: the last one of each, by Redis' clock.
        info: what each said of itself when it registered.
        ending: who was asked to end.
        held: how many messages each has.
    """

    now_ms: int
    beats: Sequence[tuple[bytes, float]]
    info: Mapping[bytes, bytes]
    ending: AbstractSet[bytes]
    held: Mapping[bytes, int]


async def read_workers(broker: StreamBroker) -> list[WorkerView]:
    """All workers that have not ended, those included whose lease is over, until others have found that out.

    Raises:
        RedisError: Redis is away.
    """
    redis, keys = broker.connection.redis, broker.keys
    now_ms = await milliseconds(redis)
    beats = await redis.zrange(keys.workers, 0, -1, withscores=True)
    info = await redis.hgetall(keys.worker_info)
    ending = await redis.smembers(keys.draining)
    queues = {queue for value in info.values() for queue in queues_of(value)} or {DEFAULT_QUEUE}
    held = await _held(redis, broker, sorted(queues))
    return await worker_views(broker, KnownWorkers(now_ms=now_ms, beats=beats, info=info, ending=ending, held=held))


async def worker_views(broker: StreamBroker, known: KnownWorkers) -> list[WorkerView]:
    """The workers that are known, with what each runs and how busy it says it is.

    Raises:
        RedisError: Redis is away.
    """
    redis, keys = broker.connection.redis, broker.keys
    running = await read_running(redis, keys, broker.secrets)
    loads = await read_loads(redis, keys, [text_of_name(raw) for raw, _ in known.beats])
    found: list[WorkerView] = []
    for raw, beat in known.beats:
        said, name, seconds = known.info.get(raw, b""), text_of_name(raw), max((known.now_ms - beat) / 1000, 0.0)
        load, (host, pid) = loads.get(name), place_of(said)
        blocked = None if load is None else load.blocked_seconds(known.now_ms)
        found.append(
            WorkerView(
                name=name,
                host=host,
                pid=pid,
                queues=queues_of(said),
                slots=slots_of(said),
                slots_used=None if load is None else load.used,
                in_flight=known.held.get(raw, 0),
                running=running.get(raw, ()),
                seconds_since_beat=seconds,
                loop_lag=None if load is None else max(load.loop_lag, blocked or 0.0),
                blocked_seconds=blocked,
                is_alive=seconds < broker.options.lease,
                is_ending=raw in known.ending,
                runs_suspects=is_ward(name),
            )
        )
    return sorted(found, key=lambda one: (one.host, one.pid))


async def read_queues(broker: StreamBroker, queues: Sequence[str] = ()) -> list[QueueView]:
    """These queues, those that workers take, and up to 1,000 others that messages were sent to.

    Raises:
        RedisError: Redis is away.
    """
    return await queue_views(broker, await count_tasks(broker, queues), await read_workers(broker))


async def queue_views(broker: StreamBroker, stats: QueueStats, all_workers: Sequence[WorkerView]) -> list[QueueView]:
    """The queues that were counted, with what these workers take of them.

    Raises:
        RedisError: Redis is away.
    """
    redis = broker.connection.redis
    workers = [one for one in all_workers if one.is_alive and not one.runs_suspects]
    oldest = await _oldest(redis, broker, [one.queue for one in stats.queues if one.waiting], await milliseconds(redis))
    pauses = Pauses(redis, broker.keys, deadline=broker.options.send_deadline)
    paused = {one.name: one for one in await pauses.all() if one.kind is Pausable.QUEUE}
    return [
        QueueView(
            name=one.queue,
            waiting=one.waiting,
            running=one.running,
            oldest_seconds=oldest.get(one.queue),
            workers=sum(one.queue in broker.keys.names_of(worker.queues) for worker in workers),
            paused=paused.get(one.queue),
        )
        for one in stats.queues
    ]


async def _oldest(
    redis: AsyncCommands, broker: StreamBroker, queues: Sequence[str], now_ms: int
) -> Mapping[str, float]:
    """By the ids of their streams' first entries; one that a worker has is older than those that wait."""
    group = await group_of_workers(redis, broker.keys, broker.consumer_group_name)
    places = [(queue, stream) for queue in queues for stream in broker.keys.locations(queue)]
    async with redis.pipeline(transaction=False) as pipe:
        for _, stream in places:
            pipe.xinfo_groups(stream)
        groups = await pipe.execute(raise_on_error=False) if places else []
    async with redis.pipeline(transaction=False) as pipe:
        for (_, stream), found in zip(places, groups, strict=True):
            pipe.xrange(stream, min=behind_delivered(answer_or(found, list[ConsumerGroup]()), group), count=1)
        pages = await pipe.execute() if places else []
    ages: dict[str, float] = {}
    for (queue, _), page in zip(places, pages, strict=True):
        for entry, _ in answer_or(page, list[Entry]()):
            age = (now_ms - int(entry.partition(b"-")[0])) / 1000
            ages[queue] = max(ages.get(queue, age), age)
    return ages


async def _held(redis: AsyncCommands, broker: StreamBroker, queues: Sequence[str]) -> dict[bytes, int]:
    """How many messages each worker has."""
    held: dict[bytes, int] = {}
    group = await group_of_workers(redis, broker.keys, broker.consumer_group_name)
    async with redis.pipeline(transaction=False) as pipe:
        for stream in broker.keys.all_locations(queues):
            pipe.xpending(stream, group)
        answers = await pipe.execute(raise_on_error=False)
    for answer in answers:
        for one in answer_or(answer, NONE_PENDING)["consumers"] or []:
            held[one["name"]] = held.get(one["name"], 0) + one["pending"]
    return held
