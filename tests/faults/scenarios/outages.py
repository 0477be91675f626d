"""Redis goes away, stands still, or comes back empty."""

import asyncio
import signal

from tests.faults.scenario import CALLS, scenario
from tests.faults.world import World


@scenario("Redis stopped and started with its data", both_receivers=True)
async def restart(world: World) -> None:
    await _live_through(world, signal.SIGTERM, seconds=2.0)


@scenario("kill -9 of Redis, started with its data")
async def crash(world: World) -> None:
    await _live_through(world, signal.SIGKILL, seconds=1.0)


@scenario("Redis away for longer than a lease")
async def stay_away(world: World) -> None:
    await _live_through(world, signal.SIGTERM, seconds=10.0)


async def _live_through(world: World, number: signal.Signals, *, seconds: float) -> None:
    await world.workers()
    await world.workers()
    producer = await world.producer()
    await world.wait_until_run(await producer.send_naps("long", 4, seconds + 3.0))
    async with producer.load(rate=40.0, seconds=0.5):
        await asyncio.sleep(1.5)
        async with world.redis.away(number):
            await asyncio.sleep(seconds)
        await asyncio.sleep(1.0)


@scenario("Redis frozen for 15 s", both_receivers=True)
async def freeze(world: World) -> None:
    await world.workers()
    await world.workers()
    producer = await world.producer()
    await world.wait_until_run(await producer.send_naps("long", 4, 18.0))
    async with producer.load(rate=20.0, seconds=0.5):
        await asyncio.sleep(1.5)
        async with world.redis.frozen():
            await asyncio.sleep(15.0)
        await asyncio.sleep(1.0)


@scenario("Redis comes back empty", calls=0.0)
async def wipe(world: World) -> None:
    group = await world.workers()
    producer = await world.producer()
    running = await producer.send_naps("running", 10, 4.0)
    await group.wait_until_running(10)
    async with world.redis.away(wipe=True):
        await asyncio.sleep(1.0)
    await producer.send_naps("later", 40, 0.1)
    await world.workers()
    async with world.traffic(CALLS, seed="wipe"):
        await producer.send_naps("latest", 40, 0.1)
        await asyncio.sleep(2.0)
    for name in running:
        cut = world.records.runs[name][0].cut
        world.expect(cut is None, f"{name} was running when Redis was wiped, and was cut")
