"""Counts on their way to Redis: each batch has a number, so that one which arrives twice counts once."""

from collections.abc import Mapping
from typing import Final
from uuid import uuid4

from redis.exceptions import RedisError, ResponseError

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.redis_retry import may_pass, reason
from kiqstart.broker.script import Script
from kiqstart.redis.commands import ScriptClient, Value

FLUSH: Final = Script[int]("flush_stats")

_HOUR_MS: Final = 3_600_000
_KEEP_NUMBER_MS: Final = _HOUR_MS
KEEP_HOUR_MS: Final = 3 * _HOUR_MS
"""For how long the counts of an hour are kept."""
KEEP_MINUTE_MS: Final = 2 * _HOUR_MS
"""For how long the counts of a minute are kept."""
MOST_FIELDS: Final = 100_000
"""How many fields a key of counts may have; what would be more is not counted."""

SENT: Final = "sent"
"""What is counted of a task by those who send it."""

Counts = Mapping[str, int]
"""Increments by field; a field is a name, a line break, and what is counted of it."""


class StatsBatch:
    """One process' counts that were sent and not answered yet. It is emptied before it is filled again."""

    def __init__(self, keys: QueueKeys) -> None:
        self._key = keys.stats_batch(uuid4().hex)
        self._number = 1
        self._counts: Mapping[str, tuple[int, Counts]] = {}

    def __bool__(self) -> bool:
        return bool(self._counts)

    def fill(self, counts: Mapping[str, Counts], *, keep_ms: Mapping[str, int] | None = None) -> None:
        """Take what is to be added next.

        Args:
            counts: by key.
            keep_ms: for how many milliseconds a key is kept; others are kept for good.
        """
        kept = keep_ms or {}
        self._counts = {key: (kept.get(key, 0), some) for key, some in counts.items() if some}

    def call(self) -> tuple[list[str], list[Value]]:
        """The keys and the arguments of the script that adds it."""
        arguments: list[Value] = [self._number, _KEEP_NUMBER_MS, MOST_FIELDS]
        for place, (keep_ms, counts) in enumerate(self._counts.values(), 2):
            arguments += [place, keep_ms, len(counts)]
            for field, count in counts.items():
                arguments += [field, count]
        return [self._key, *self._counts], arguments

    async def send(self, redis: ScriptClient) -> str:
        """Add it; where Redis is away, a later call does. Gives why Redis refuses it for good, and it is dropped."""
        problem = ""
        try:
            await FLUSH(redis, *self.call())
        except ResponseError as error:
            if may_pass(error):
                return ""
            problem = reason(error)
        except (RedisError, OSError):
            return ""
        self.finish()
        return problem

    def finish(self) -> None:
        """It was added, or never will be: go on to the next one."""
        if self._counts:
            self._counts = {}
            self._number += 1
