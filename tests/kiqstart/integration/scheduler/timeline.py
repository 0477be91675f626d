"""One or several schedulers on a real Redis, with a time that the test sets."""

import json
from collections.abc import Sequence
from typing import cast

from redis.asyncio import Redis
from taskiq import AsyncBroker

from kiqstart.broker.keys import QueueKeys
from kiqstart.redis.commands import async_commands
from kiqstart.scheduler.clock import StoreClock
from kiqstart.scheduler.definition import ScheduleDefinition
from kiqstart.scheduler.redis_store import RedisScheduleStore
from kiqstart.scheduler.scheduler_loop import SchedulerLoop
from kiqstart.scheduler.scheduler_stats import SchedulerStats

NOW = 1_800_000_000_000


class Timeline:
    """Time passes when a test says so; `RedisScheduleStore(clock=…)` gives it to every script."""

    def __init__(self, redis: Redis, broker: AsyncBroker, keys: QueueKeys) -> None:
        self.now = NOW
        self.redis = redis
        self.keys = keys
        self.store = RedisScheduleStore(lambda: async_commands(redis), keys, clock=lambda: self.now)
        self.broker = broker
        self._passed = 0

    def ticker(
        self,
        table: Sequence[ScheduleDefinition] = (),
        *,
        deadline: float = 1e9,
        name: str = "one",
        stats: SchedulerStats | None = None,
    ) -> SchedulerLoop:
        """A further scheduler."""
        clock = StoreClock(steady=lambda: self._passed / 1000, wall=lambda: self.now / 1000)
        return SchedulerLoop(
            self.broker, self.store, table, clock=clock, send_deadline=deadline, name=name, stats=stats
        )

    def pass_ms(self, milliseconds: int) -> None:
        """Let time pass, for Redis and all schedulers."""
        self.now += milliseconds
        self._passed += milliseconds

    async def sent(self, queue: str = "default") -> list[str]:
        """The ids of the tasks that were sent."""
        entries = await self.redis.xrange(self.keys.stream(queue))
        found = cast("list[tuple[bytes, dict[bytes, bytes]]]", entries)
        return [cast("str", json.loads(fields[b"data"])["task_id"]) for _, fields in found]

    async def times(self, name: str) -> list[str]:
        """When the tasks of a schedule were due that were sent."""
        return [task_id.partition("@")[2] for task_id in await self.sent() if task_id.startswith(f"{name}@")]
