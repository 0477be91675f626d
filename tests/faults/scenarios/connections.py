"""Connections that are cut at every moment."""

import asyncio

from tests.faults.fault import Kind
from tests.faults.proxy import CuttingProxy, Storm, cutting_proxy
from tests.faults.scenario import CALLS, scenario
from tests.faults.world import World

from kiqstart.testing import eventually

_CUTS = 5


@scenario("all connections cut, again and again", both_receivers=True)
async def cut_all(world: World) -> None:
    await world.workers()
    await world.workers()
    producer = await world.producer()
    async with producer.load(rate=60.0):
        for _ in range(25):
            await asyncio.sleep(0.2)
            await world.redis.cut_connections()


@scenario("a network that cuts at any byte", both_receivers=True, calls=0.0)
async def cut_anywhere(world: World) -> None:
    await _storm(world, Storm(mean_bytes=1500.0))


@scenario("a network that loses answers", both_receivers=True, calls=0.0)
async def lose_answers(world: World) -> None:
    await _storm(world, Storm(lost_answers=0.1))


async def _storm(world: World, storm: Storm) -> None:
    async with cutting_proxy(world.redis.port) as proxy:
        await world.workers(url=proxy.url)
        await world.workers(url=proxy.url)
        producer = await world.producer(url=proxy.url)
        async with producer.load(rate=40.0), world.traffic(CALLS, seed=storm, url=proxy.url):
            with world.faults.lasting(Kind.CUT):
                proxy.storm = storm
                await asyncio.sleep(6.0)
                await eventually(lambda: _has_cut(proxy), within=20.0)
                proxy.storm = None
        # The workers would miss the proxy. What they have run they have to settle through it, too.
        await world.finish()
        await world.close()


async def _has_cut(proxy: CuttingProxy) -> bool:
    return proxy.cuts >= _CUTS
