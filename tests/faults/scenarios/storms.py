"""Workers that are killed again and again, or at every deploy: no task is guilty of that."""

import asyncio
import random
from typing import Final

from tests.faults.scenario import scenario
from tests.faults.world import World

_PROCESSES: Final = 3
_KILLS: Final = 12
_KILLS_IF_LONG: Final = 100
_SECONDS_BETWEEN_KILLS: Final = 1.0
# Each has its process killed on the way, most of them more than once.
_SECONDS: Final = (0.5, 4.0)
_SECONDS_IF_LONG: Final = (1.0, 15.0)
_DEPLOYS: Final = 2


@scenario("workers killed at random, again and again", lease=2.0, recovers_within=float("inf"), ends_within=900.0)
async def storm(world: World) -> None:
    group = await world.workers(processes=_PROCESSES)
    producer = await world.producer()
    dice = random.Random(12)  # noqa: S311  # no secret
    least, most = _SECONDS_IF_LONG if world.long else _SECONDS
    for number in range(60 if world.long else 20):
        await producer.send(producer.tasks.nap, f"long-{number}", dice.uniform(least, most))
    async with producer.load(rate=20.0, seconds=0.1, prefix="short"):
        for _ in range(_KILLS_IF_LONG if world.long else _KILLS):
            await group.wait_until_ready(1)
            group.kill_worker()
            await asyncio.sleep(_SECONDS_BETWEEN_KILLS)
    await world.drain(within=600.0)


@scenario("deploys whose workers are killed in the end", lease=2.0, recovers_within=float("inf"), ends_within=300.0)
async def hard_deploys(world: World) -> None:
    count, seconds, until_killed = (300, 15.0, 10.0) if world.long else (60, 7.0, 2.5)
    producer = await world.producer()
    await producer.send_naps("task", count, seconds)
    for _ in range(_DEPLOYS):
        group = await world.workers(processes=_PROCESSES, grace=60.0)
        await group.wait_until_running(20, of="task")
        group.terminate()
        await asyncio.sleep(until_killed)
        world.expect(len(group.running()) > 0, "no task was killed: this shows little")
        group.kill()
    last = await world.workers(processes=_PROCESSES)
    await world.drain(within=200.0)
    world.expect("died repeatedly" not in last.log, "deaths of workers that were asked to end were counted")
