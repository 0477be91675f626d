"""Connections that are cut at every moment."""

import asyncio

from tests.faults.fault import Kind
from tests.faults.proxy import Storm, cutting_proxy
from tests.faults.scenario import scenario
from tests.faults.world import World


@scenario("all connections cut, again and again", both_receivers=True)
async def cut_all(world: World) -> None:
    await world.workers()
    await world.workers()
    producer = await world.producer()
    async with producer.load(rate=60.0):
        for _ in range(25):
            await asyncio.sleep(0.2)
            await world.redis.cut_connections()


@scenario("a network that cuts at any byte", both_receivers=True)
async def cut_anywhere(world: World) -> None:
    await _storm(world, Storm(mean_bytes=4000.0))


@scenario("a network that loses answers", both_receivers=True)
async def lose_answers(world: World) -> None:
    await _storm(world, Storm(lost_answers=0.1))


async def _storm(world: World, storm: Storm) -> None:
    async with cutting_proxy(world.redis.port) as proxy:
        await world.workers(url=proxy.url)
        await world.workers(url=proxy.url)
        producer = await world.producer(url=proxy.url)
        async with producer.load(rate=40.0):
            with world.faults.lasting(Kind.CUT):
                proxy.storm = storm
                await asyncio.sleep(6.0)
                proxy.storm = None
            world.expect(proxy.cuts >= 5, f"only {proxy.cuts} connections were cut")
        await world.drain()
        # They would miss the proxy.
        await world.close()
