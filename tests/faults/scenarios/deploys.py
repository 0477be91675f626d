"""SIGTERM, with and without somebody to take over."""

import asyncio

from tests.faults.programs import ReceiverKind
from tests.faults.scenario import scenario
from tests.faults.workers import SECONDS_TO_EXIT, WorkerGroup, wait_until_exited
from tests.faults.world import QUEUE, World

from kiqstart.testing import eventually

# taskiq's process manager looks for signals once a second.
_SECONDS_OF_MANAGER = 1.0
_SECONDS_TO_EXIT_IDLE = 1.0
_READERS = 3


# The lease is so long that what is not given back is missing at the end.
@scenario("SIGTERM with tasks read ahead", both_receivers=True, lease=60.0)
async def deploy(world: World) -> None:
    # taskiq's own receiver runs what it has read ahead; it is caught in the middle of reading.
    is_own = world.receiver is ReceiverKind.OWN
    count, seconds = (80, 2.0) if is_own else (800, 0.05)
    old = await world.workers(grace=15.0, prefetch=60 if is_own else 0)
    producer = await world.producer()
    await producer.send_naps("task", count, seconds)
    await old.wait_until_running(14 if is_own else 1, of="task")
    old.terminate()
    took, _ = await asyncio.gather(old.wait_until_gone(within=30.0), world.workers())
    if is_own:
        _expect_end_after(world, old, took, at_most=_SECONDS_OF_MANAGER + 2.0 + SECONDS_TO_EXIT)


@scenario("SIGTERM, tasks outlast the grace", both_receivers=True, lease=60.0, recovers_within=3.0, cuts_short=5)
async def outlast_the_grace(world: World) -> None:
    old = await world.workers(grace=2.0)
    producer = await world.producer()
    await producer.send_naps("long", 5, 8.0)
    await producer.send_naps("short", 35, 1.0)
    await old.wait_until_running(5, of="long")
    fault = old.terminate()
    took, _ = await asyncio.gather(old.wait_until_gone(within=20.0), world.take_over(fault))
    _expect_end_after(world, old, took, at_most=_SECONDS_OF_MANAGER + 2.0 + SECONDS_TO_EXIT)


def _expect_end_after(world: World, group: WorkerGroup, took: float, *, at_most: float) -> None:
    world.expect(took < at_most, f"the workers of {group.pid} took {took:.1f} s to end, {at_most} s are enough")


@scenario("SIGTERM without anybody to take over", lease=60.0, recovers_within=3.0, cuts_short=10)
async def come_back_later(world: World) -> None:
    old = await world.workers(grace=1.0)
    producer = await world.producer()
    await producer.send_naps("task", 30, 3.0)
    await old.wait_until_running(14, of="task")
    fault = old.terminate()
    await old.wait_until_gone(within=20.0)
    await world.take_over(fault)


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


# For taskiq's receiver this is not promised, but holds.
@scenario("SIGTERM of idle workers", both_receivers=True, calls=0.0)
async def end_when_idle(world: World) -> None:
    group = await world.workers(processes=_READERS)
    producer = await world.producer()

    async def are_registered() -> bool:
        return await world.redis.registered(QUEUE) == _READERS

    await producer.send_naps("task", 10, 0.0)
    await world.drain()
    await world.leftovers()
    await eventually(are_registered, within=20.0)
    for worker in group.workers():
        group.terminate_worker(worker)
        took = await wait_until_exited(worker, within=20.0)
        world.expect(took < _SECONDS_TO_EXIT_IDLE, f"an idle worker took {took:.2f} s to end, 1 s is promised")
    # Its manager replaces them. A signal to a process that is just being forked would be lost.
    await eventually(are_registered, within=20.0)
    group.terminate()
    await group.wait_until_gone(within=20.0)
    names = await world.redis.registered(QUEUE) + (await world.redis.leftovers(QUEUE)).consumers
    world.expect(not names, f"{names} names are left in Redis of workers that have ended")
    world.expect("Traceback" not in group.log, "workers did not end cleanly: see their log")
