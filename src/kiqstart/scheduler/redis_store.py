"""Schedules in Redis, beside the streams into which they send."""

from collections.abc import Callable, Sequence
from typing import Final

from redis.exceptions import ResponseError

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.redis_text import raw_name
from kiqstart.broker.script import Script
from kiqstart.redis.commands import AsyncCommands, Value
from kiqstart.scheduler.due import DueMark, DuePage, Poll
from kiqstart.scheduler.firing import FireRequest, FireResult, FireScript
from kiqstart.scheduler.redis_encoding import (
    PollAnswer,
    add_answers,
    added,
    fire_answers,
    fire_values,
    flat,
    poll_of,
    sha1,
)
from kiqstart.scheduler.redis_reader import RedisScheduleReader
from kiqstart.scheduler.store import (
    LARGEST,
    SECONDS_AHEAD,
    SECONDS_UNTIL_GONE,
    SET_BACK_MS,
    EarlierDue,
    Entry,
)
from kiqstart.tasks.labels import DEFAULT_QUEUE, QUEUE_LABEL

_POLL: Final = Script[PollAnswer]("poll", "scheduler")
_READ: Final = Script[list[bytes | int | None]]("read", "scheduler")
_FIRE: Final = Script[list[bytes]]("fire", "scheduler")
_ANSWERS: Final = Script[list[bytes]]("answers", "scheduler")
_SET_TABLE: Final = Script[int]("set_table", "scheduler")
_ADD: Final = Script[list[bytes | int]]("add", "scheduler")
_REMOVE: Final = Script[int]("remove", "scheduler")
_PAUSE: Final = Script[int]("pause", "scheduler")
_RESUME: Final = Script[int]("resume", "scheduler")
_SET_ASIDE: Final = Script[int]("set_aside", "scheduler")
_RESCHEDULE_EARLIER: Final = Script[int]("reschedule_earlier", "scheduler")

_FIRST_STREAM: Final = 8
# So much is read in one script, which keeps Redis from others.
_BYTES_OF_NAMES: Final = 1024 * 1024
_BYTES_OF_DEFINITIONS: Final = 4 * 1024 * 1024
# A script whose answer is lost may arrive again for so long.
_REMEMBERED_MS: Final = 600_000
_MOST_SET_ASIDE: Final = 10_000


class RedisScheduleStore(RedisScheduleReader):
    """Keeps schedules under the hash tag of their broker's queue, so that a step and its send are one script.

    Every script takes the time at which it runs as an argument, so a test with a clock of its own sees
    what would happen at any time.

    Args:
        redis: gives the event loop's client.
        clock: gives the time in milliseconds since the Unix epoch; None: Redis does.
        queue_limit: how many messages a stream may hold, and how many may be delayed; None for any number.
    """

    def __init__(
        self,
        redis: Callable[[], AsyncCommands],
        keys: QueueKeys,
        *,
        clock: Callable[[], int] | None = None,
        queue_limit: int | None = None,
    ) -> None:
        super().__init__(redis, keys, clock=clock)
        self._queue_limit = queue_limit or 0

    async def poll(self, scheduler: str, limit: int) -> Poll:
        """One script, whose cost follows what is due."""
        return await self._poll(self._time(), raw_name(scheduler), 0, limit)

    async def page(self, now_ms: int, start: int, limit: int) -> DuePage:
        """The same script."""
        return (await self._poll(str(now_ms), b"", start, limit)).page

    async def definitions(self, names: Sequence[str]) -> list[bytes | int | None]:
        """One script, which reads little more than 4 MiB."""
        if not names:
            return []
        limits: list[Value] = [_BYTES_OF_DEFINITIONS, LARGEST]
        return await _READ(self._redis, [self._names.definitions], [*limits, *map(raw_name, names)])

    async def leave(self, scheduler: str) -> None:
        """Remove its heartbeat."""
        await self._redis.zrem(self._names.schedulers, raw_name(scheduler))
        await self._redis.delete(self._names.answers(scheduler))

    async def fire(self, script: FireScript) -> list[FireResult]:
        """All in one script."""
        streams = list(dict.fromkeys(self._stream(one) for one in script.firings))
        names, queue = self._names, self._keys
        keys = [names.definitions, names.due, names.last, names.answers(script.scheduler)]
        keys += [queue.uniques, queue.delayed, queue.delayed_messages, *streams]
        arguments: list[Value] = [self._time(), script.number, _REMEMBERED_MS, self._queue_limit]
        for one in script.firings:
            arguments += fire_values(one, streams.index(self._stream(one)) + _FIRST_STREAM)
        return fire_answers(await _FIRE(self._redis, keys, arguments))

    async def answers(self, script: FireScript) -> list[FireResult] | None:
        """In one script."""
        keys = [self._names.answers(script.scheduler)]
        return fire_answers(await _ANSWERS(self._redis, keys, [script.number])) or None

    async def set_table(
        self, table: str, entries: Sequence[Entry], *, instead_of: str = "", after_number: int = 0
    ) -> None:
        """In one script."""
        names = self._names
        keys = [names.definitions, names.due, names.last, names.table_names, names.table, names.table_number]
        keys += [names.paused, names.aside]
        await _SET_TABLE(self._redis, keys, [self._time(), table, instead_of, after_number, *flat(entries)])

    async def add(self, entries: Sequence[Entry], *, script: str) -> list[bool | ResponseError]:
        """In one script."""
        names = self._names
        keys = [names.definitions, names.due, names.table_names, names.paused, names.aside, names.added]
        return add_answers(await _ADD(self._redis, keys, [script, _REMEMBERED_MS, *added(entries)]))

    async def remove(self, name: str) -> bool | None:
        """In one script."""
        names = self._names
        keys = [names.definitions, names.due, names.table_names, names.paused, names.last, names.aside]
        removed = await _REMOVE(self._redis, keys, [raw_name(name)])
        return None if removed < 0 else bool(removed)

    async def pause(self, name: str) -> bool:
        """In one script."""
        keys = [self._names.definitions, self._names.due, self._names.paused]
        return bool(await _PAUSE(self._redis, keys, [raw_name(name)]))

    async def resume(self, name: str, due_ms: int, data: bytes) -> bool:
        """In one script."""
        keys = [self._names.definitions, self._names.due, self._names.paused]
        return bool(await _RESUME(self._redis, keys, [raw_name(name), due_ms, sha1(data)]))

    async def set_aside(self, mark: DueMark, sha1: str) -> bool | None:
        """In one script."""
        keys = [self._names.definitions, self._names.due, self._names.aside, self._names.last]
        arguments: list[Value] = [raw_name(mark.name), mark.score or mark.due_ms, sha1, LARGEST, _MOST_SET_ASIDE]
        done = await _SET_ASIDE(self._redis, keys, arguments)
        return None if done < 0 else bool(done)

    async def reschedule_earlier(self, earlier: Sequence[EarlierDue]) -> None:
        """In one script."""
        arguments = [value for one in earlier for value in (raw_name(one.name), one.was_due_ms, one.due_ms)]
        await _RESCHEDULE_EARLIER(self._redis, [self._names.due], arguments)

    async def accept_clock(self) -> None:
        """From now on the latest poll is one of now."""
        await self._redis.set(self._names.polled, await self.now_ms())

    async def _poll(self, now: str, scheduler: bytes, start: int, limit: int) -> Poll:
        names = self._names
        keys = [names.due, names.schedulers, names.table, names.table_number, names.polled]
        gone_ms, soon_ms = round(SECONDS_UNTIL_GONE * 1000), round(SECONDS_AHEAD * 1000)
        arguments: list[Value] = [now, scheduler, gone_ms, SET_BACK_MS, soon_ms, start, limit, _BYTES_OF_NAMES]
        return poll_of(await _POLL(self._redis, keys, arguments))

    def _stream(self, firing: FireRequest) -> str:
        labels = {} if firing.message is None else firing.message.labels
        return self._keys.stream(str(labels.get(QUEUE_LABEL, DEFAULT_QUEUE)))
