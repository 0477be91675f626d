"""Schedulers that are killed, frozen and started again, and a Redis that goes away under them."""

import asyncio
from datetime import UTC, datetime
from itertools import takewhile
from typing import Final

from tests.faults.recorder import Mark
from tests.faults.scenario import scenario
from tests.faults.ticks import TABLE
from tests.faults.workers import WorkerGroup
from tests.faults.world import World

from kiqstart.scheduler.occurrence import time_text

_SECONDS: Final = 45.0
_SECONDS_IF_LONG: Final = 180.0
# What is due is sent at once; so much later it must have been run.
_SECONDS_TO_RUN: Final = 4.0
_DUE_TIME: Final = "@"


@scenario("schedulers killed, frozen, without Redis", recovers_within=float("inf"), ends_within=260.0)
async def schedule(world: World) -> None:
    await world.workers()
    first, second = await asyncio.gather(world.scheduler(), world.scheduler())
    began = datetime.now(UTC)
    deadline = asyncio.get_running_loop().time() + (_SECONDS_IF_LONG if world.long else _SECONDS)
    while asyncio.get_running_loop().time() < deadline:
        first, second = await _trouble(world, first, second)
    ended = datetime.now(UTC)
    await asyncio.sleep(_SECONDS_TO_RUN)
    for group in (first, second):
        group.terminate()
    _expect(world, began, ended)


async def _trouble(world: World, first: WorkerGroup, second: WorkerGroup) -> tuple[WorkerGroup, WorkerGroup]:
    first.kill()
    await asyncio.sleep(3.0)
    third = await world.scheduler()
    with second.frozen():
        await asyncio.sleep(5.0)
    third.kill()
    second.kill()
    await asyncio.sleep(3.0)
    first, second = await asyncio.gather(world.scheduler(), world.scheduler())
    async with world.redis.away():
        await asyncio.sleep(3.0)
    with first.frozen(), second.frozen():
        await asyncio.sleep(5.0)
    await asyncio.sleep(2.0)
    return second, first


def _expect(world: World, began: datetime, ended: datetime) -> None:
    """Enter what was due as sent, so that it is looked for as any other task."""
    due = {
        f"{one.name}@{time_text(time)}"
        for one in TABLE
        for time in takewhile(lambda time: time <= ended, one.occurrences(began))
    }
    world.records.refresh()
    for name in due:
        world.recorder.write(Mark.DUE, name)
    ticks = {name for name in world.records.runs if _DUE_TIME in name}
    early_or_foreign = {
        name for name in ticks - due if began < datetime.fromisoformat(name.partition(_DUE_TIME)[2]) <= ended
    }
    world.expect(not early_or_foreign, f"ran without being due: {sorted(early_or_foreign)}")
