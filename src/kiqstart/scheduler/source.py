"""Durable schedules for taskiq's scheduler."""

import asyncio
from collections.abc import Sequence
from logging import getLogger
from typing import Final

from redis.exceptions import NoPermissionError, RedisError
from taskiq import AsyncBroker, ScheduledTask, ScheduleSource

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.redis_retry import pause, reason
from kiqstart.clock import local_time
from kiqstart.processes.exits import exit_on_operator_error
from kiqstart.redis.client import RedisUnavailableError, with_remedy
from kiqstart.scheduler.broker_limits import send_deadline
from kiqstart.scheduler.clock import StoreClock
from kiqstart.scheduler.conversions import label_definitions
from kiqstart.scheduler.definition import ScheduleDefinition
from kiqstart.scheduler.log_text import error_line
from kiqstart.scheduler.memory_store import MemoryScheduleStore
from kiqstart.scheduler.redis_store import RedisScheduleStore
from kiqstart.scheduler.scheduler_loop import SchedulerLoop
from kiqstart.scheduler.scheduler_stats import SchedulerStats
from kiqstart.scheduler.schedules import Schedules
from kiqstart.scheduler.store import ScheduleStore
from kiqstart.scheduler.table import Schedule
from kiqstart.scheduler.termination import end_on_sigterm

logger = getLogger(__name__)

_SECONDS_TO_STOP: Final = 2.0


class DurableScheduleSource(ScheduleSource):
    """Sends what is due by itself, at the time; taskiq's loop, and its flags, have nothing to do.

    The schedules are those of a table and of the tasks' labels (as with taskiq's LabelScheduleSource), put into effect
    when the scheduler starts, and those that were added with `schedule_by_cron` and the like. With a `StreamBroker` all
    is kept in Redis; with another broker it ends with the process.

    Args:
        broker: sends.
        table: the schedules of this application, beside those in labels.
    """

    def __init__(self, broker: AsyncBroker, table: Sequence[Schedule] = ()) -> None:
        self._broker = broker
        self.table = table
        self.store = _store(broker)
        self.schedules = Schedules(broker, self.store)
        self._ticking: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._stats: SchedulerStats | None = None
        self.ticked_at: float | None = None
        """When this process, by its own clock, last polled for what is due, and took what steps there were."""

    async def startup(self) -> None:
        """Begin to send, where this is a scheduler's process.

        One with a schedule that cannot be, or without Redis, ends with a line.
        """
        if not self._broker.is_scheduler_process:
            return
        with exit_on_operator_error():
            table = self._definitions()
            await self._check_store()
        end_on_sigterm()
        self._begin(table)

    async def shutdown(self) -> None:
        """Send no more."""
        self._stop.set()
        if self._ticking is not None:
            await asyncio.wait({self._ticking}, timeout=_SECONDS_TO_STOP)

    async def get_schedules(self) -> list[ScheduledTask]:
        """The schedules that were added; for taskiq's loop there are none, since they are sent here."""
        if self._broker.is_scheduler_process:
            return []
        return [one async for one in self.schedules.added()]

    async def add_schedule(self, schedule: ScheduledTask) -> None:
        """Add or change a schedule, by its id; see `Schedules.add`."""
        await self.schedules.add(schedule)

    async def delete_schedule(self, schedule_id: str) -> None:
        """Remove a schedule that was added; see `Schedules.remove`."""
        await self.schedules.remove(schedule_id)

    def _begin(self, table: Sequence[ScheduleDefinition]) -> None:
        deadline = send_deadline(self._broker)
        if isinstance(self._broker, StreamBroker):
            self._stats = SchedulerStats(self._broker.keys, {one.name for one in table})
        ticker = SchedulerLoop(
            self._broker, self.store, table, clock=StoreClock(), send_deadline=deadline, stats=self._stats
        )
        self._stop = asyncio.Event()
        self._ticking = asyncio.create_task(self._tick(ticker), name="ticker")

    async def _check_store(self) -> None:
        if not isinstance(self._broker, StreamBroker):
            return
        try:
            await self.store.now_ms()
        except NoPermissionError:
            # It is there; what its user may not do is waited for, or told by the check of rights.
            return
        except (RedisError, OSError) as error:
            address = self._broker.connections.address
            raise RedisUnavailableError(
                f"cannot use Redis at {address} (REDIS_URL): {with_remedy(reason(error), error)}"
            ) from None

    def _definitions(self) -> list[ScheduleDefinition]:
        in_labels = label_definitions(self._broker)
        names = {definition.name for definition in in_labels}
        for schedule in self.table:
            if schedule.name in names:
                raise schedule.error("a task's label has one of that name")
        return [*in_labels, *(schedule.definition(self._broker) for schedule in self.table)]

    async def _tick(self, ticker: SchedulerLoop) -> None:
        tries, told = 0, ""
        while not self._stop.is_set():
            try:
                seconds = await ticker.tick()
                if tries:
                    logger.info("Schedules are sent again")
                tries, told = 0, ""
                self.ticked_at = local_time()
                await self._flush()
            except (RedisError, OSError) as error:
                if reason(error) != told:
                    logger.warning("Schedules wait for Redis: %s", reason(error))
                tries, told = tries + 1, reason(error)
                seconds = pause(tries)
            except Exception as error:
                if error_line(error) != told:
                    logger.exception("The scheduler goes on after an error")
                tries, told = tries + 1, error_line(error)
                seconds = 1.0
            await self._wait(seconds)
        await self._flush(at_once=True)
        try:
            await ticker.leave()
        except (RedisError, OSError) as error:
            logger.debug("Redis was not told that this scheduler ends: %s", error)

    async def _flush(self, *, at_once: bool = False) -> None:
        if self._stats is not None and isinstance(self._broker, StreamBroker):
            await self._stats.flush(self._broker.connection.redis, at_once=at_once)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return


def _store(broker: AsyncBroker) -> ScheduleStore:
    if isinstance(broker, StreamBroker):
        limit = broker.options.queue_limit
        return RedisScheduleStore(lambda: broker.connection.redis, broker.keys, queue_limit=limit)
    return MemoryScheduleStore(broker.kick)
