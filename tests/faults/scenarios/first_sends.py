"""Tasks that are sent before anybody is there for them."""

import asyncio

from tests.faults.scenario import scenario
from tests.faults.world import World


@scenario("tasks sent before any worker, without startup()", both_receivers=True)
async def send_first(world: World) -> None:
    producer = await world.producer(started=False)
    await producer.send_naps("early", 60, 0.05)
    await asyncio.gather(world.workers(), world.workers())
    await producer.send_naps("late", 20, 0.05)
