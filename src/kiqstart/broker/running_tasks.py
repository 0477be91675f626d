"""What workers have: which entries are pending with them, and what they say of those."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Self

from redis.exceptions import ResponseError

from kiqstart.broker.delivery import mark_of
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.redis_retry import without_foreign_keys
from kiqstart.broker.redis_text import bounded_time, text_of_name
from kiqstart.broker.running import RunningTask, read_running
from kiqstart.broker.whereabouts import Place, Whereabouts
from kiqstart.broker.worker_info import place_of
from kiqstart.redis.commands import AsyncCommands, PendingEntry, milliseconds
from kiqstart.tasks.sealing.secrets import Secrets

_ENTRIES_AT_ONCE: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Pending:
    """An entry that a worker has.

    Args:
        idle_ms: milliseconds since the worker was handed it.
    """

    stream: str
    entry: bytes
    worker: bytes
    idle_ms: int

    @property
    def mark(self) -> str:
        """What workers call its run."""
        return mark_of(self.stream, self.entry.decode())


async def pending_of(
    redis: AsyncCommands, stream: str, group: str, *, first: str = "-", last: str = "+", most: int
) -> list[Pending]:
    """The entries of a stream that workers have, from one id to another, the oldest first.

    Raises:
        RedisError: Redis is away.
    """
    found: list[Pending] = []
    with suppress(ResponseError):  # no such group, or no stream
        while len(found) < most:
            count = min(most - len(found), _ENTRIES_AT_ONCE)
            page = await redis.xpending_range(stream, group, min=first, max=last, count=count)
            found += [_pending(stream, one) for one in page]
            if len(page) < count:
                break
            first = f"({found[-1].entry.decode()}"
    return found


def _pending(stream: str, one: PendingEntry) -> Pending:
    return Pending(
        stream=stream,
        entry=one["message_id"],
        worker=one["consumer"],
        idle_ms=one["time_since_delivered"],
    )


@dataclass(frozen=True, kw_only=True)
class Holdings:
    """What workers say of themselves and of what they run.

    Args:
        now_ms: Redis' time.
        info: by the workers' names.
        running: by the marks of the runs.
    """

    now_ms: int
    info: Mapping[bytes, bytes]
    running: Mapping[str, RunningTask]

    @classmethod
    async def read(cls, redis: AsyncCommands, keys: QueueKeys, secrets: Secrets) -> Self:
        """Read it.

        Raises:
            RedisError: Redis is away.
        """
        now_ms = await milliseconds(redis)
        info: dict[bytes, bytes] = {}
        with without_foreign_keys():
            info = await redis.hgetall(keys.worker_info)
        said = await read_running(redis, keys, secrets)
        running = {one.entry: one for tasks in said.values() for one in tasks}
        return cls(now_ms=now_ms, info=info, running=running)

    def running_task(self, waiting: Whereabouts, pending: Pending) -> Whereabouts:
        """That of an entry, made of what it would be if nobody had it."""
        host, pid = place_of(self.info.get(pending.worker, b""))
        said = self.running.get(pending.mark)
        return replace(
            waiting,
            place=Place.RUNNING,
            since=self.since(pending),
            worker=text_of_name(pending.worker),
            host=host,
            pid=pid,
            progress=None if said is None else said.progress,
        )

    def since(self, pending: Pending) -> datetime:
        """When its function began, where its worker has said so; else when that was handed it."""
        said = self.running.get(pending.mark)
        return bounded_time(self.now_ms - pending.idle_ms) if said is None else said.began
