"""Workers that stand still and go on later, as on a machine that was suspended."""

import asyncio

from tests.faults.scenario import scenario
from tests.faults.workers import WorkerGroup
from tests.faults.world import QUEUE, World

from kiqstart.testing import eventually


@scenario("a worker frozen past its lease, and thawed", both_receivers=True, lease=2.0, cuts_short=5)
async def freeze_past_the_lease(world: World) -> None:
    frozen = await world.workers()
    producer = await world.producer()
    long = await producer.send_naps("long", 5, 8.0)
    await frozen.wait_until_running(5, of="long")
    await producer.send_naps("short", 30, 1.0)
    await frozen.wait_until_running(10, of="short")
    with frozen.frozen() as fault:
        other = await world.take_over(fault)
        await eventually(lambda: _run_in(long, other), within=20.0)
        await asyncio.sleep(1.0)
    # It ends its runs now, while the others have hardly begun.
    await eventually(lambda: _have_ended_in(world, long, frozen), within=20.0)
    await asyncio.sleep(0.5)
    still = other.running()
    world.expect(all(name in still for name in long), "the other workers do not run all tasks of the frozen one")
    left = await world.redis.leftovers(QUEUE)
    world.expect(left.pending >= len(long), f"the thawed worker acknowledged: {left.pending} of {len(long)} pending")
    stored = [name for name in long if await producer.broker.result_backend.is_result_ready(name)]
    world.expect(not stored, f"the thawed worker stored results of what others run: {', '.join(stored)}")


async def _run_in(names: list[str], group: WorkerGroup) -> bool:
    return all(name in group.running() for name in names)


async def _have_ended_in(world: World, names: list[str], group: WorkerGroup) -> bool:
    world.records.refresh()
    workers = world.records.workers_of(group.pid)
    return all(any(run.pid in workers and not run.is_open for run in world.records.runs[name]) for name in names)


@scenario("a worker frozen for less than its lease", lease=5.0)
async def freeze_shortly(world: World) -> None:
    frozen = await world.workers()
    await world.workers()
    producer = await world.producer()
    async with producer.load(rate=30.0, seconds=1.0):
        await frozen.wait_until_running(5, of="load")
        for _ in range(3):
            with frozen.frozen():
                await asyncio.sleep(3.0)
            await asyncio.sleep(1.5)
    await world.drain()
    again = [name for name, runs in world.records.runs.items() if len(runs) > 1]
    world.expect(not again, f"others took tasks of the worker that was frozen: {', '.join(again)}")
