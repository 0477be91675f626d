"""`kill -9`, of everything that can be killed."""

import asyncio

from tests.faults.scenario import scenario
from tests.faults.workers import SECONDS_TO_EXIT, wait_until_exited
from tests.faults.world import World


@scenario("kill -9 of a worker process", cuts_short=10)
async def kill_a_worker_process(world: World) -> None:
    group = await world.workers(processes=2)
    producer = await world.producer()
    await producer.send_naps("task", 80, 1.5)
    await group.wait_until_running(25, of="task")
    group.kill_worker()


@scenario("kill -9 of a group, queue idle after", both_receivers=True, cuts_short=5)
async def kill_a_group(world: World) -> None:
    victim = await world.workers()
    await world.workers()
    producer = await world.producer()
    await producer.send_naps("task", 60, 2.0)
    await victim.wait_until_running(8, of="task")
    victim.kill()


@scenario("kill -9 of all workers, new ones after", cuts_short=10)
async def kill_all(world: World) -> None:
    groups = await asyncio.gather(world.workers(), world.workers())
    producer = await world.producer()
    await producer.send_naps("task", 60, 2.0)
    for group in groups:
        await group.wait_until_running(10, of="task")
    kills = [group.kill() for group in groups]
    await asyncio.sleep(0.5)
    await producer.send_naps("later", 20, 0.0)
    await world.take_over(*kills)


# The lease is so long that what is not given back is missing at the end.
@scenario("kill -9 of a process manager", lease=60.0)
async def kill_a_manager(world: World) -> None:
    group = await world.workers(grace=15.0)
    producer = await world.producer()
    await producer.send_naps("task", 40, 1.5)
    await group.wait_until_running(14, of="task")
    (worker,) = group.workers()
    group.kill_manager()
    took, _ = await asyncio.gather(wait_until_exited(worker, within=20.0), world.workers())
    at_most = 1.5 + SECONDS_TO_EXIT
    world.expect(took < at_most, f"the worker took {took:.1f} s to end after its manager, {at_most} s are enough")
    await producer.send_naps("later", 20, 0.0)
