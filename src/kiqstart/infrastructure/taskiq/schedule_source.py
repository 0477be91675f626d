"""Hands taskiq's scheduler the coming occurrences of a table of schedules, each to be sent once."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Final, Protocol

from redis.asyncio import Redis, RedisCluster
from taskiq import ScheduledTask, ScheduleSource
from taskiq.exceptions import ScheduledTaskCancelledError

from kiqstart.infrastructure.taskiq.schedules import Schedule

SCHEDULED_AT_LABEL: Final = "scheduled_at"
# The scheduler asks again every minute by default. It is given more than that, so that a slow answer costs no tick.
_HORIZON: Final = timedelta(minutes=15)
# A tick that falls between two answers is in both of them; its id keeps it from being sent twice.
_OVERLAP: Final = timedelta(seconds=5)
_CLAIM_SECONDS: Final = 3600


class OccurrenceClaims(Protocol):
    """Decides which scheduler sends an occurrence."""

    async def claim(self, occurrence_id: str) -> bool:
        """True for the first one that asks."""
        ...

    async def close(self) -> None:
        """Let connections go."""
        ...


class RedisOccurrenceClaims:
    """Claims that all schedulers share: a key for each occurrence, kept for an hour."""

    def __init__(self, redis: Redis | RedisCluster, *, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix

    async def claim(self, occurrence_id: str) -> bool:
        """Set the occurrence's key where it is not set yet."""
        return bool(await self._redis.set(f"{self._prefix}:{occurrence_id}", 1, nx=True, ex=_CLAIM_SECONDS))

    async def close(self) -> None:
        """Close the client."""
        await self._redis.aclose()


class LocalOccurrenceClaims:
    """Claims of a single scheduler, for the in-memory broker; taskiq's loop sends an id once by itself."""

    async def claim(self, occurrence_id: str) -> bool:  # noqa: ARG002  # the protocol's parameter
        """Always granted."""
        return True

    async def close(self) -> None:
        """There is nothing to let go."""


class OccurrenceSource(ScheduleSource):
    """Computes when schedules are due and gives each occurrence to taskiq as a one-shot with the id `name@time`.

    Nothing is due early after a restart, since times follow from the table and the clock alone, and any number of
    schedulers send each occurrence once. What falls due while no scheduler runs is not made up.
    """

    def __init__(self, schedules: Sequence[Schedule], claims: OccurrenceClaims) -> None:
        self._schedules = schedules
        self._claims = claims
        self._started_at = datetime.now(UTC)

    async def startup(self) -> None:
        """Take the time before which nothing is sent."""
        self._started_at = datetime.now(UTC)

    async def shutdown(self) -> None:
        """Let the claims' connections go."""
        await self._claims.close()

    async def get_schedules(self) -> list[ScheduledTask]:
        """All occurrences of the next quarter of an hour."""
        now = datetime.now(UTC)
        after = max(self._started_at, now - _OVERLAP)
        return [
            _one_shot(schedule, due)
            for schedule in self._schedules
            for due in takewhile(lambda due: due <= now + _HORIZON, schedule.occurrences(after))
        ]

    async def pre_send(self, task: ScheduledTask) -> None:
        """Claim the occurrence.

        Raises:
            ScheduledTaskCancelledError: another scheduler has sent it.
        """
        if not await self._claims.claim(task.schedule_id):
            raise ScheduledTaskCancelledError


def _one_shot(schedule: Schedule, due: datetime) -> ScheduledTask:
    time = due.isoformat().replace("+00:00", "Z")
    return ScheduledTask(
        task_name=str(schedule.task),
        labels={SCHEDULED_AT_LABEL: time},
        args=[],
        kwargs=dict(schedule.arguments),
        schedule_id=f"{schedule.name}@{time}",
        time=due,
    )
