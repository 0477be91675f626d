"""What is measured of a scheduler that runs."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import quantiles
from typing import Final, cast

from redis.asyncio import Redis
from taskiq import ScheduledTask, ScheduleSource

from benchmarks.process_tree import cpu_seconds
from benchmarks.scheduling.app import TASK

_SECONDS_AHEAD: Final = 5.0
_SECONDS_TO_COME: Final = 20.0
_AT_ONCE: Final = 50
_FAR: Final = timedelta(days=30)


@dataclass(frozen=True, kw_only=True)
class Lateness:
    """Milliseconds from the time at which a schedule is due to its message in the stream."""

    sent: int
    p50: float
    p99: float
    most: float


async def add_waiting(source: ScheduleSource, count: int) -> None:
    """Add schedules that are due in a month."""
    due = datetime.now(UTC) + _FAR
    await _add(source, [due + timedelta(milliseconds=number) for number in range(count)])


async def lateness(source: ScheduleSource, redis: Redis, stream: str, *, count: int, span: float) -> Lateness:
    """Let `count` schedules be due, evenly over `span` seconds, and see when they are sent."""
    await redis.delete(stream)
    seconds = _SECONDS_AHEAD + count / 500
    first = datetime.fromtimestamp(round(time.time() + seconds), UTC)
    due = [first + timedelta(seconds=span * number / count) for number in range(count)]
    names = await _add(source, due)
    deadline = time.monotonic() + seconds + span + _SECONDS_TO_COME
    while await redis.xlen(stream) < count and time.monotonic() < deadline:  # noqa: ASYNC110  # another process sends
        await asyncio.sleep(0.5)
    due_ms = {name: time.timestamp() * 1000 for name, time in zip(names, due, strict=True)}
    late: list[float] = []
    for entry, fields in cast("list[tuple[bytes, dict[bytes, bytes]]]", await redis.xrange(stream)):
        name = str(json.loads(fields[b"data"])["labels"]["schedule_id"]).partition("@")[0]
        late.append(int(entry.partition(b"-")[0]) - due_ms[name])
    percentiles = quantiles(late, n=100)
    return Lateness(sent=len(late), p50=percentiles[49], p99=percentiles[98], most=max(late))


async def cpu_share(pid: int, seconds: float) -> float:
    """The share of one core that a process, which leads a session, takes with all others of it."""
    before = cpu_seconds(pid)
    await asyncio.sleep(seconds)
    return (cpu_seconds(pid) - before) / seconds


async def _add(source: ScheduleSource, due: Sequence[datetime]) -> list[str]:
    schedules = [ScheduledTask(task_name=TASK, labels={}, args=[], kwargs={}, time=one) for one in due]
    for place in range(0, len(schedules), _AT_ONCE):
        await asyncio.gather(*(source.add_schedule(one) for one in schedules[place : place + _AT_ONCE]))
    return [one.schedule_id for one in schedules]
