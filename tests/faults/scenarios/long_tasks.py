"""Tasks that take several leases."""

import asyncio

from tests.faults.scenario import scenario
from tests.faults.world import World


def _seconds(world: World) -> float:
    return 20.0 if world.long else 7.0


@scenario("tasks that wait past several leases", both_receivers=True, lease=2.0)
async def wait_long(world: World) -> None:
    await world.workers()
    await world.workers()
    producer = await world.producer()
    for number in range(6):
        await producer.send(producer.tasks.nap, f"nap-{number}", _seconds(world))
        await producer.send(producer.tasks.sit, f"sit-{number}", _seconds(world))
    # On an idle queue, nobody would ask for what others have.
    async with producer.load(rate=10.0, seconds=0.0):
        await asyncio.sleep(_seconds(world))
    await world.drain(within=30.0)


@scenario("tasks that block the loop past several leases", both_receivers=True, lease=2.0)
async def block_the_loop(world: World) -> None:
    busy = await world.workers()
    producer = await world.producer()
    # What is sent with it waits in that worker's own buffer, and must not run elsewhere too.
    await producer.send(producer.tasks.spin, "spin", _seconds(world))
    await producer.send_naps("task", 40, 0.1)
    await busy.wait_until_running(1)
    await world.workers()
    async with producer.load(rate=10.0, seconds=0.0):
        await asyncio.sleep(_seconds(world))
    await world.drain(within=30.0)
