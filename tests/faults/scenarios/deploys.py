"""SIGTERM, with and without somebody to take over."""

import asyncio
import time

from tests.faults.scenario import scenario
from tests.faults.workers import wait_until_exited
from tests.faults.world import World

# taskiq's process manager looks for signals once a second.
_SECONDS_OF_MANAGER = 1.0


# The lease is so long that what is not given back is missing at the end.
@scenario("SIGTERM with tasks read ahead", both_receivers=True, lease=60.0)
async def deploy(world: World) -> None:
    old = await world.workers()
    producer = await world.producer()
    await producer.send_naps("task", 60, 1.5)
    await old.wait_until_running(20)
    old.terminate()
    # Those that run take 1.5 s at the most.
    took, _ = await asyncio.gather(old.wait_until_gone(within=20.0), world.workers())
    at_most = _SECONDS_OF_MANAGER + 1.5 + 1.5
    world.expect(took < at_most, f"the old workers took {took:.1f} s to end, {at_most} s are enough")


@scenario("SIGTERM, tasks outlast the grace", both_receivers=True, lease=60.0, recovers_within=3.0)
async def outlast_the_grace(world: World) -> None:
    old = await world.workers(grace=2.0)
    producer = await world.producer()
    await producer.send_naps("long", 5, 6.0)
    await producer.send_naps("short", 35, 0.5)
    await old.wait_until_running(10)
    old.terminate()
    took, _ = await asyncio.gather(old.wait_until_gone(within=20.0), world.workers())
    at_most = _SECONDS_OF_MANAGER + 2.0 + 1.5
    world.expect(took < at_most, f"the old workers took {took:.1f} s to end, {at_most} s are enough")


@scenario("SIGTERM without anybody to take over", lease=60.0)
async def come_back_later(world: World) -> None:
    old = await world.workers(grace=1.0)
    producer = await world.producer()
    await producer.send_naps("task", 30, 3.0)
    await old.wait_until_running(20)
    fault = old.terminate()
    await old.wait_until_gone(within=20.0)
    # What outlasted the grace waits for the new workers, not longer.
    fault.grace = time.monotonic() - fault.began
    await world.workers()


@scenario("rolling deploys under load", recovers_within=3.0)
async def roll(world: World) -> None:
    producer = await world.producer()
    old = await world.workers(grace=3.0)
    async with producer.load(rate=40.0, seconds=0.5):
        for _ in range(3):
            new = await world.workers(grace=3.0)
            old.terminate()
            await old.wait_until_gone(within=20.0)
            old = new


@scenario("SIGTERM of an idle worker process")
async def end_when_idle(world: World) -> None:
    group = await world.workers(processes=3)
    producer = await world.producer()
    await producer.send_naps("task", 10, 0.0)
    await world.drain()
    for worker in group.workers():
        await asyncio.sleep(0.4)
        group.terminate_worker(worker)
        took = await wait_until_exited(worker, within=20.0)
        world.expect(took < 1.0, f"an idle worker took {took:.1f} s to end, 1 s is promised")
