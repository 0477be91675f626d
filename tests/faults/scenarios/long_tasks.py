"""Tasks that take several leases."""

import asyncio

from tests.faults.scenario import scenario
from tests.faults.world import World

from kiqstart.broker.consumer_parts import WAIT_SECONDS


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
    _, other = await asyncio.gather(world.workers(), world.workers())
    producer = await world.producer()
    with other.frozen():
        # Once its read has ended, it gets nothing of what is sent.
        await asyncio.sleep(2 * WAIT_SECONDS)
        # What is read together waits in that worker's own buffer, and must not run elsewhere too.
        for number in range(10):
            producer.begin(producer.tasks.nap, f"before-{number}", 0.1)
        producer.begin(producer.tasks.spin, "spin", _seconds(world))
        await producer.send_naps("after", 30, 0.1)
        await producer.flush()
        await world.wait_until_run(["spin"])
    async with producer.load(rate=10.0, seconds=0.0):
        await asyncio.sleep(_seconds(world))
    await world.drain(within=30.0)
