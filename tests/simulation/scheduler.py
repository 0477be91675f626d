"""Schedulers, and an operator who changes schedules: the product's in simulated processes."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Final

from redis.exceptions import RedisError
from taskiq import ScheduledTask
from taskiq.exceptions import SendTaskError
from tests.invariants.occurrences import Occurrences, Operated
from tests.simulation.kernel import Process
from tests.simulation.network import Network
from tests.simulation.product import OPTIONS, SimulatedBroker

from kiqstart.scheduler.clock import StoreClock
from kiqstart.scheduler.conversions import ScheduleError
from kiqstart.scheduler.definition import CatchUp, ScheduleDefinition
from kiqstart.scheduler.redis_store import RedisScheduleStore
from kiqstart.scheduler.scheduler_loop import SchedulerLoop
from kiqstart.scheduler.schedules import Schedules
from kiqstart.scheduler.triggers import IntervalTrigger

_SECONDS_UNTIL_AGAIN: Final = 0.5
# The table of a service: names, and seconds between their times.
TABLE: Final = {"quick": 2, "slow": 5}
# Of those that somebody may add.
ADDED: Final = {"added": 3}


class Scheduler:
    """A process that sends what is due.

    Args:
        tick: what a scheduled task does.
        missed: what it does with missed times: another table than that of a scheduler with another rule.
    """

    def __init__(
        self, network: Network, process: Process, *, tick: Callable[[], Awaitable[None]], catch_up: CatchUp
    ) -> None:
        self.process: Final = process
        self._broker, self._store = broker_and_store(network, process, tick)
        table = [
            ScheduleDefinition(
                name=name, task="tick", timing=IntervalTrigger(every=timedelta(seconds=seconds)), catch_up=catch_up
            )
            for name, seconds in TABLE.items()
        ]
        clock = StoreClock(wall=lambda: network.now_ms() / 1000)
        self._ticker = SchedulerLoop(
            self._broker,
            self._store,
            table,
            clock=clock,
            send_deadline=OPTIONS.send_deadline,
            name=f"{process.name}{process.random.getrandbits(32):x}",
        )
        process.soon(lambda: process.loop.create_task(self._serve()))

    async def _serve(self) -> None:
        while True:
            try:
                seconds = await self._ticker.tick()
            except (RedisError, OSError):
                seconds = _SECONDS_UNTIL_AGAIN
            await asyncio.sleep(seconds)


def broker_and_store(
    network: Network, process: Process, tick: Callable[[], Awaitable[None]]
) -> tuple[SimulatedBroker, RedisScheduleStore]:
    """What a process needs to work on schedules."""
    broker = SimulatedBroker(network, process)
    broker.register_task(tick, task_name="tick")
    redis = broker._per_loop.get().redis
    return broker, RedisScheduleStore(lambda: redis, broker.keys)


class Operator:
    """Somebody who changes schedules."""

    def __init__(
        self, network: Network, process: Process, tick: Callable[[], Awaitable[None]], occurrences: Occurrences
    ) -> None:
        self.process: Final = process
        self._occurrences = occurrences
        self._schedules = Schedules(*broker_and_store(network, process, tick))

    def do(self, what: str, name: str) -> None:
        """Begin a change."""
        process, work = self.process, self._run if what == "run" else self._change
        process.soon(lambda: process.loop.create_task(work(what, name)))

    async def _run(self, _: str, name: str) -> None:
        with suppress(ScheduleError, SendTaskError, RedisError, OSError):
            await self._schedules.run(name)

    async def _change(self, what: str, name: str) -> None:
        before = self._occurrences.begin_change(name, is_known=name in TABLE)
        try:
            match what:
                case "add":
                    schedule = ScheduledTask(
                        task_name="tick", labels={}, args=[], kwargs={}, schedule_id=name, interval=ADDED.get(name, 1)
                    )
                    await self._schedules.add(schedule)
                    state = Operated.PAUSED if before is Operated.PAUSED else Operated.ON
                case "remove":
                    await self._schedules.remove(name)
                    state = Operated.GONE
                case "pause":
                    await self._schedules.pause(name)
                    state = Operated.PAUSED
                case _:
                    await self._schedules.resume(name)
                    state = Operated.ON
        except ScheduleError:
            state = before
        except (RedisError, OSError):
            state = Operated.UNKNOWN
        self._occurrences.end_change(name, state)
