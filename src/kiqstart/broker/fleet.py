"""Which workers live and what they have, and which queues there are and who takes them."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import cast

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.lease import is_ward
from kiqstart.broker.pauses import Pausable, Pause, Pauses
from kiqstart.broker.redis_text import redis_ms, text_of_name
from kiqstart.broker.running import RunningTask, read_running
from kiqstart.broker.stats import QueueStats, count_tasks
from kiqstart.broker.stream_views import held_by_workers, oldest_waiting, read_streams
from kiqstart.broker.worker_info import place_of, queues_of, slots_of
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
        in_flight: messages that it has, those included that it has fetched ahead.
        running: what it runs for a second or longer, or reports how far it is, the longest first; up to 100.
        seconds_since_beat: since it last renewed its lease.
        is_alive: whether the lease holds.
        is_ending: whether it was asked to end.
        runs_suspects: whether it is the process in which a worker runs tasks whose workers have died repeatedly.
    """

    name: str
    host: str
    pid: int
    queues: Sequence[str]
    slots: int
    in_flight: int
    running: Sequence[RunningTask]
    seconds_since_beat: float
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


async def read_workers(broker: StreamBroker) -> list[WorkerView]:
    """All workers that have not ended, those included whose lease is over, until others have found that out."""
    redis, keys = broker.connection.redis, broker.keys
    now_ms = await redis_ms(redis)
    beats = cast("list[tuple[bytes, float]]", await redis.zrange(keys.workers, 0, -1, withscores=True))
    info = cast("dict[bytes, bytes]", await redis.hgetall(keys.worker_info))
    ending = cast("set[bytes]", await redis.smembers(keys.draining))
    queues = {queue for value in info.values() for queue in queues_of(value)} or {DEFAULT_QUEUE}
    held = held_by_workers(await read_streams(redis, broker, sorted(queues)))
    return await worker_views(broker, beats, info, ending, held, now_ms=now_ms)


async def worker_views(
    broker: StreamBroker,
    beats: Sequence[tuple[bytes, float]],
    info: Mapping[bytes, bytes],
    ending: AbstractSet[bytes],
    held: Mapping[bytes, int],
    *,
    now_ms: int,
) -> list[WorkerView]:
    """The workers that were read, with what each says that it runs.

    Args:
        broker: theirs.
        beats: their names and last beats.
        info: what each has said of itself.
        ending: those that were asked to end.
        held: how many messages each has.
        now_ms: Redis' time.
    """
    running = await read_running(broker.connection.redis, broker.keys, broker.secrets)
    found: list[WorkerView] = []
    for raw, beat in beats:
        said, name, seconds = info.get(raw, b""), text_of_name(raw), max((now_ms - beat) / 1000, 0.0)
        host, pid = place_of(said)
        found.append(
            WorkerView(
                name=name,
                host=host,
                pid=pid,
                # The key of the default queue's stream is a name of that queue, too.
                queues=[DEFAULT_QUEUE if one == broker.keys.name else one for one in queues_of(said)],
                slots=slots_of(said),
                running=running.get(raw, ()),
                in_flight=held.get(raw, 0),
                seconds_since_beat=seconds,
                is_alive=seconds < broker.options.lease,
                is_ending=raw in ending,
                runs_suspects=is_ward(name),
            )
        )
    return sorted(found, key=lambda one: (one.host, one.pid))


async def read_queues(broker: StreamBroker, queues: Sequence[str] = ()) -> list[QueueView]:
    """These queues, those that workers take, and up to 1,000 others that messages were sent to."""
    return await queue_views(broker, await count_tasks(broker, queues), await read_workers(broker))


async def queue_views(broker: StreamBroker, stats: QueueStats, all_workers: Sequence[WorkerView]) -> list[QueueView]:
    """The queues that were counted, with what these workers take of them."""
    redis = broker.connection.redis
    workers = [one for one in all_workers if one.is_alive and not one.runs_suspects]
    queues = [one.queue for one in stats.queues]
    streams = await read_streams(redis, broker, queues)
    oldest = await oldest_waiting(redis, broker, queues, streams, await redis_ms(redis))
    pauses = Pauses(redis, broker.keys, deadline=broker.options.send_deadline)
    paused = {one.name: one for one in await pauses.all() if one.kind is Pausable.QUEUE}
    return [
        QueueView(
            name=one.queue,
            waiting=one.waiting,
            running=one.running,
            oldest_seconds=oldest.get(one.queue),
            workers=sum(one.queue in worker.queues for worker in workers),
            paused=paused.get(one.queue),
        )
        for one in stats.queues
    ]
