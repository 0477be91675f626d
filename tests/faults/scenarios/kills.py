"""`kill -9`, of everything that can be killed."""

import asyncio

from tests.faults.scenario import scenario
from tests.faults.world import World


@scenario("kill -9 of a worker process")
async def kill_a_worker_process(world: World) -> None:
    group = await world.workers(processes=2)
    producer = await world.producer()
    await producer.send_naps("task", 80, 1.0)
    await group.wait_until_running(30)
    group.kill_worker()


@scenario("kill -9 of a group, queue idle after", both_receivers=True)
async def kill_a_group(world: World) -> None:
    victim = await world.workers()
    await world.workers()
    producer = await world.producer()
    await producer.send_naps("task", 60, 2.0)
    await victim.wait_until_running(10)
    victim.kill()


@scenario("kill -9 of all workers, new ones after")
async def kill_all(world: World) -> None:
    groups = await asyncio.gather(world.workers(), world.workers())
    producer = await world.producer()
    await producer.send_naps("task", 60, 1.5)
    for group in groups:
        await group.wait_until_running(10)
    for group in groups:
        group.kill()
    await asyncio.sleep(0.5)
    await producer.send_naps("later", 20, 0.0)
    await world.workers()


@scenario("kill -9 of a process manager")
async def kill_a_manager(world: World) -> None:
    group = await world.workers(grace=2.0)
    producer = await world.producer()
    await producer.send_naps("task", 40, 1.0)
    await group.wait_until_running(20)
    group.kill_manager()
    await world.workers()
    await producer.send_naps("later", 20, 0.0)
