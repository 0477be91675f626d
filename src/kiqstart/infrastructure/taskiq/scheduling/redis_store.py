"""Schedules in Redis, beside the streams into which they send."""

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Final, cast

from kiqstart.infrastructure.taskiq.labels import QUEUE_LABEL
from kiqstart.infrastructure.taskiq.scheduling.redis_encoding import flat, optional, send_values, stored_schedule
from kiqstart.infrastructure.taskiq.scheduling.store import (
    SECONDS_AHEAD,
    SECONDS_UNTIL_GONE,
    SET_BACK_MS,
    Answer,
    DueSchedule,
    Entry,
    Firing,
    Heartbeats,
    Look,
    Outcome,
    Sooner,
    StoredSchedule,
    Summary,
)
from kiqstart.infrastructure.taskiq.streams.keys import DEFAULT_QUEUE, QueueKeys
from kiqstart.infrastructure.taskiq.streams.script import Script, Value

if TYPE_CHECKING:
    from redis.asyncio import Redis

_LOOK: Final = Script("look", "scheduling")
_FIRE: Final = Script("fire", "scheduling")
_SET_TABLE: Final = Script("set_table", "scheduling")
_ADD: Final = Script("add", "scheduling")
_REMOVE: Final = Script("remove", "scheduling")
_PAUSE: Final = Script("pause", "scheduling")
_RESUME: Final = Script("resume", "scheduling")
_SET_ASIDE: Final = Script("set_aside", "scheduling")
_HURRY: Final = Script("hurry", "scheduling")

_FIRST_STREAM: Final = 7
_PAGE: Final = 500


class RedisScheduleStore:
    """Keeps schedules under the hash tag of their broker's queue, so that a step and its send are one script.

    Args:
        redis: gives the event loop's client.
        clock: gives the time in milliseconds since the Unix epoch; None: Redis does.
    """

    def __init__(self, redis: Callable[[], object], keys: QueueKeys, *, clock: Callable[[], int] | None = None) -> None:
        self._client = redis
        self._keys = keys
        self._clock = clock
        base = keys.schedules
        self._due = f"{base}:due"
        self._last = f"{base}:last"
        self._table = f"{base}:table"
        self._names = f"{base}:table:names"
        self._paused = f"{base}:paused"
        self._aside = f"{base}:aside"
        self._schedulers = f"{base}:schedulers"
        self._looked = f"{base}:looked"

    @property
    def _redis(self) -> "Redis":
        return cast("Redis", self._client())

    async def now_ms(self) -> int:
        """Redis' time."""
        if self._clock is not None:
            return self._clock()
        seconds, microseconds = await self._redis.time()
        return seconds * 1000 + microseconds // 1000

    async def look(self, scheduler: str, limit: int) -> Look:
        """One script, whose cost follows what is due."""
        keys = [self._keys.schedules, self._due, self._schedulers, self._table, self._looked]
        gone_ms, soon_ms = round(SECONDS_UNTIL_GONE * 1000), round(SECONDS_AHEAD * 1000)
        answer = await _LOOK(self._redis, keys, [scheduler, limit, gone_ms, soon_ms, SET_BACK_MS, self._time()])
        now, following, table, schedulers, due, set_back = cast(
            "tuple[int, bytes, bytes, list[bytes], list[bytes], int]", answer
        )
        next_due = round(float(following))
        return Look(
            now_ms=now,
            due=[
                DueSchedule(name=name.decode(), due_ms=round(float(time)), data=data)
                for name, time, data in zip(due[::3], due[1::3], due[2::3], strict=True)
            ],
            next_due_ms=None if next_due < 0 else next_due,
            schedulers=[name.decode() for name in schedulers],
            table=table.decode() or None,
            is_set_back=bool(set_back),
        )

    async def leave(self, scheduler: str) -> None:
        """Remove its heartbeat."""
        await self._redis.zrem(self._schedulers, scheduler)

    async def fire(self, firings: Sequence[Firing]) -> list[Answer]:
        """All in one script."""
        streams = list(dict.fromkeys(self._stream(one) for one in firings))
        names = self._keys
        keys = [names.schedules, self._due, self._last, names.uniques, names.delayed, names.delayed_messages, *streams]
        arguments: list[Value] = [self._time()]
        for one in firings:
            sha = hashlib.sha1(one.due.data, usedforsecurity=False).hexdigest()
            place = streams.index(self._stream(one)) + _FIRST_STREAM
            arguments += [one.due.name, sha, one.expected_ms, optional(one.following_ms), optional(one.send_ms), place]
            arguments += [*send_values(one), one.outcome.value]
        answer = cast("list[bytes]", await _FIRE(self._redis, keys, arguments))
        return [
            Answer(outcome=Outcome(outcome.decode()), detail=detail.decode(errors="replace"))
            for outcome, detail in zip(answer[::2], answer[1::2], strict=True)
        ]

    async def set_table(self, table: str, entries: Sequence[Entry], *, instead_of: str = "") -> None:
        """In one script."""
        keys = [self._keys.schedules, self._due, self._last, self._names, self._table, self._paused, self._aside]
        await _SET_TABLE(self._redis, keys, [table, instead_of, *flat(entries)])

    async def add(self, entries: Sequence[Entry]) -> list[bool]:
        """In one script."""
        keys = [self._keys.schedules, self._due, self._names, self._paused, self._aside]
        return [bool(kept) for kept in cast("list[int]", await _ADD(self._redis, keys, flat(entries)))]

    async def remove(self, name: str) -> bool | None:
        """In one script."""
        keys = [self._keys.schedules, self._due, self._names, self._paused, self._last, self._aside]
        removed = cast("int", await _REMOVE(self._redis, keys, [name]))
        return None if removed < 0 else bool(removed)

    async def pause(self, name: str) -> bool:
        """In one script."""
        return bool(await _PAUSE(self._redis, [self._keys.schedules, self._due, self._paused], [name]))

    async def resume(self, name: str, due_ms: int | None) -> None:
        """In one script."""
        await _RESUME(self._redis, [self._due, self._paused], [name, optional(due_ms)])

    async def set_aside(self, due: DueSchedule) -> None:
        """In one script."""
        await _SET_ASIDE(self._redis, [self._keys.schedules, self._due, self._aside], [due.name, due.data])

    async def hurry(self, sooner: Sequence[Sooner]) -> None:
        """In one script."""
        arguments = [value for one in sooner for value in (one.name, one.was_due_ms, one.due_ms)]
        await _HURRY(self._redis, [self._due], arguments)

    async def accept_clock(self) -> None:
        """From now on the latest look is one of now."""
        await self._redis.set(self._looked, await self.now_ms())

    async def get(self, name: str) -> StoredSchedule | None:
        """Four reads in one round trip, which need not be of one moment."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hget(self._keys.schedules, name)
            pipe.zscore(self._due, name)
            pipe.sismember(self._paused, name)
            pipe.hget(self._last, name)
            data, due, paused, last = cast("tuple[bytes | None, float | None, int, bytes | None]", await pipe.execute())
        return None if data is None else stored_schedule(name, data, due, last, is_paused=bool(paused))

    async def all(self) -> AsyncIterator[StoredSchedule]:
        """Page by page."""
        paused = {name.decode() for name in cast("set[bytes]", await self._redis.smembers(self._paused))}
        cursor = 0
        while True:
            cursor, page = cast(
                "tuple[int, dict[bytes, bytes]]", await self._redis.hscan(self._keys.schedules, cursor, count=_PAGE)
            )
            if page:
                names = list(page)
                times = await self._redis.zmscore(self._due, [name.decode() for name in names])
                steps = cast("list[bytes | None]", await self._redis.hmget(self._last, names))
                for name, due, last in zip(names, times, steps, strict=True):
                    text = name.decode()
                    yield stored_schedule(text, page[name], due, last, is_paused=text in paused)
            if not cursor:
                return

    async def summary(self, limit: int) -> Summary:
        """Three round trips, which need not be of one moment."""
        names = sorted(name.decode() for name in cast("set[bytes]", await self._redis.smembers(self._names)))
        enough = limit + len(names)
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.zrange(self._due, 0, enough, withscores=True)
            pipe.srandmember(self._paused, enough)
            pipe.zcard(self._due)
            pipe.scard(self._paused)
            pipe.hkeys(self._aside)
            times, paused, active, paused_count, aside = cast(
                "tuple[list[tuple[bytes, float]], list[bytes], int, int, list[bytes]]", await pipe.execute()
            )
        others = [name.decode() for name in (*sorted(paused), *(name for name, _ in times))]
        added = [name for name in dict.fromkeys(others) if name not in names][:limit]
        stored = await self._several([*names, *added])
        return Summary(
            now_ms=await self.now_ms(),
            table=[one for one in stored if one.name in names],
            added=[one for one in stored if one.name not in names],
            active=active,
            paused=paused_count,
            set_aside=sorted(name.decode() for name in aside),
            first_due_ms=round(times[0][1]) if times else None,
        )

    async def heartbeats(self) -> Heartbeats:
        """Those of schedulers that did not leave."""
        now = await self.now_ms()
        beats = cast("list[tuple[bytes, float]]", await self._redis.zrange(self._schedulers, 0, -1, withscores=True))
        return Heartbeats(now_ms=now, seen_ms={name.decode(): round(seen) for name, seen in beats})

    async def _several(self, names: Sequence[str]) -> list[StoredSchedule]:
        if not names:
            return []
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(self._keys.schedules, list(names))
            pipe.zmscore(self._due, list(names))
            pipe.smismember(self._paused, list(names))
            pipe.hmget(self._last, list(names))
            columns = cast(
                "tuple[list[bytes | None], list[float | None], list[int], list[bytes | None]]", await pipe.execute()
            )
        return [
            stored_schedule(name, data, due, last, is_paused=bool(paused))
            for name, data, due, paused, last in zip(names, *columns, strict=True)
            if data is not None
        ]

    def _stream(self, firing: Firing) -> str:
        labels = {} if firing.message is None else firing.message.labels
        return self._keys.stream(str(labels.get(QUEUE_LABEL, DEFAULT_QUEUE)))

    def _time(self) -> str:
        return "" if self._clock is None else str(self._clock())
