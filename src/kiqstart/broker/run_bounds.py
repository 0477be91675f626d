"""Bounds what is kept of runs that have ended; part of the janitor's duties."""

from typing import Final

from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.script import Script
from kiqstart.clock import local_time
from kiqstart.redis.commands import BlockingCommands

_BOUND: Final = Script[object]("bound_runs")
_SECONDS_BETWEEN: Final = 30.0


class RunBounds:
    """Drops runs that are too old, too many or too large together, the oldest first, and failed ones last.

    Args:
        redis: a client that blocks.
    """

    def __init__(self, redis: BlockingCommands, keys: QueueKeys, options: StreamOptions) -> None:
        self._redis = redis
        self._keys = keys
        age_ms, failed_age_ms = round(options.runs_age * 1000), round(options.failed_runs_age * 1000)
        self._arguments = (options.runs_kept, age_ms, failed_age_ms, options.runs_bytes)
        self._seconds = min(_SECONDS_BETWEEN, 30 * options.beat)
        self._due_at = 0.0

    @property
    def are_due(self) -> bool:
        """Whether it is time to look."""
        return local_time() >= self._due_at

    def apply(self) -> None:
        """Drop what is beyond the bounds."""
        self._due_at = local_time() + self._seconds
        _BOUND.in_thread(self._redis, [self._keys.runs, self._keys.failed_runs, self._keys.run_counts], self._arguments)
