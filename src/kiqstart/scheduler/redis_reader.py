"""What operators see of schedules in Redis."""

import uuid
from collections.abc import AsyncIterator, Callable
from typing import Final

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.redis_text import raw_name, text_of_name
from kiqstart.redis.commands import AsyncCommands, answer_or, milliseconds
from kiqstart.scheduler.occurrence import ms_of_score
from kiqstart.scheduler.redis_encoding import stored_schedule
from kiqstart.scheduler.store import Heartbeats, StoredSchedule, Summary

_PAGE: Final = 500


class ScheduleKeys:
    """The keys beside a queue's own, under its hash tag."""

    def __init__(self, keys: QueueKeys) -> None:
        base = keys.schedules
        self.definitions = base
        self.due = f"{base}:due"
        self.last = f"{base}:last"
        self.table = f"{base}:table"
        self.table_number = f"{base}:table:number"
        self.table_names = f"{base}:table:names"
        self.paused = f"{base}:paused"
        self.aside = f"{base}:aside"
        self.schedulers = f"{base}:schedulers"
        self.polled = f"{base}:looked"
        # Of whoever adds through this object.
        self.added = f"{base}:added:{uuid.uuid4().hex}"

    def answers(self, scheduler: str) -> str:
        """What a scheduler's last script was answered."""
        return f"{self.definitions}:answers:{scheduler}"


class RedisScheduleReader:
    """Reads schedules, and changes none.

    Args:
        redis: gives the event loop's client.
        clock: gives the time in milliseconds since the Unix epoch; None: Redis does.
    """

    def __init__(
        self, redis: Callable[[], AsyncCommands], keys: QueueKeys, *, clock: Callable[[], int] | None = None
    ) -> None:
        self._client = redis
        self._keys = keys
        self._clock = clock
        self._names = ScheduleKeys(keys)

    @property
    def _redis(self) -> AsyncCommands:
        return self._client()

    async def now_ms(self) -> int:
        """Redis' time."""
        if self._clock is not None:
            return self._clock()
        return await milliseconds(self._redis)

    async def get(self, name: str) -> StoredSchedule | None:
        """Four reads in one round trip, which need not be of one moment."""
        return next(iter(await self._several([raw_name(name)])), None)

    async def all(self) -> AsyncIterator[StoredSchedule]:
        """Page by page."""
        cursor = 0
        while True:
            cursor, page = await self._redis.hscan(self._names.definitions, cursor, count=_PAGE)
            for one in await self._several(list(page)):
                yield one
            if not cursor:
                return

    async def summary(self, limit: int) -> Summary:
        """Three round trips, which need not be of one moment."""
        names = await self._redis.smembers(self._names.table_names)
        enough = limit + len(names)
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.zrange(self._names.due, 0, enough, withscores=True)
            pipe.srandmember(self._names.paused, enough)
            pipe.zcard(self._names.due)
            pipe.scard(self._names.paused)
            pipe.hkeys(self._names.aside)
            answers = await pipe.execute()
        times = answer_or(answers[0], list[tuple[bytes, float]]())
        paused = answer_or(answers[1], list[bytes]())
        aside = answer_or(answers[4], list[bytes]())
        others = [*sorted(paused), *(name for name, _ in times)]
        added = [name for name in dict.fromkeys(others) if name not in names][:limit]
        return Summary(
            now_ms=await self.now_ms(),
            table=await self._several(sorted(names)),
            added=await self._several(added),
            active=answer_or(answers[2], 0),
            paused=answer_or(answers[3], 0),
            set_aside=sorted(text_of_name(name) for name in aside),
            first_due_ms=ms_of_score(times[0][1]) if times else None,
        )

    async def heartbeats(self) -> Heartbeats:
        """Those of schedulers that did not leave."""
        now = await self.now_ms()
        beats = await self._redis.zrange(self._names.schedulers, 0, -1, withscores=True)
        return Heartbeats(now_ms=now, seen_ms={text_of_name(name): ms_of_score(seen) for name, seen in beats})

    async def _several(self, names: list[bytes]) -> list[StoredSchedule]:
        if not names:
            return []
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(self._names.definitions, names)
            pipe.zmscore(self._names.due, names)
            pipe.smismember(self._names.paused, names)
            pipe.hmget(self._names.last, names)
            answers = await pipe.execute()
        definitions, last_steps = (answer_or(answers[place], list[bytes | None]()) for place in (0, 3))
        due_times, are_paused = answer_or(answers[1], list[float | None]()), answer_or(answers[2], list[int]())
        return [
            stored_schedule(text_of_name(name), data, due, last, is_paused=bool(paused))
            for name, data, due, paused, last in zip(names, definitions, due_times, are_paused, last_steps, strict=True)
            if data is not None
        ]

    def _time(self) -> str:
        return "" if self._clock is None else str(self._clock())
