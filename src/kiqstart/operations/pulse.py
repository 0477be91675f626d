"""What goes on in a broker just now, read at once by few commands, none of which looks through messages."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, cast

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.fleet import WorkerView, worker_views
from kiqstart.broker.pauses import Pausable, field_of
from kiqstart.broker.redis_text import queue_names, text_of_name
from kiqstart.broker.run_stats import TaskStats, read_task_stats
from kiqstart.broker.stream_views import answer_or, held_by_workers, oldest_waiting, read_streams
from kiqstart.broker.task_queues import queues_of_tasks
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


async def read_pulse(broker: StreamBroker) -> Pulse:
    """Look once."""
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
        answers = cast("list[object]", await pipe.execute(raise_on_error=False))
    seconds, micros = answer_or(answers[0], (0, 0))
    now_ms = seconds * 1000 + micros // 1000
    names = queue_names({*answer_or(answers[7], set[bytes]()), *answer_or(answers[8], list[bytes]())})
    queues = sorted(
        {DEFAULT_QUEUE if name == keys.name else name for name in (*broker.queues, *queues_of_tasks(broker), *names)}
    )
    streams = await read_streams(redis, broker, queues)
    beats, info = answer_or(answers[1], list[tuple[bytes, float]]()), answer_or(answers[2], dict[bytes, bytes]())
    ending, held = answer_or(answers[3], set[bytes]()), held_by_workers(streams)
    workers = await worker_views(broker, beats, info, ending, held, now_ms=now_ms)
    paused = set(map(text_of_name, answer_or(answers[4], list[bytes]())))
    oldest = await oldest_waiting(redis, broker, queues, streams, now_ms)
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
