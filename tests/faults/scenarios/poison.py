"""A task that takes its worker down, each time."""

import asyncio

from tests.faults.scenario import scenario
from tests.faults.world import World

from kiqstart.infrastructure.taskiq.streams.delivery import DeadReason
from kiqstart.testing import eventually

_DELIVERIES = 3


@scenario("a task that kills its worker", both_receivers=True, lease=2.0)
async def poison(world: World) -> None:
    await world.workers(processes=2)
    producer = await world.producer()
    dead_letters = producer.broker.dead_letters
    world.may_vanish.add("poison")
    await producer.send(producer.tasks.deadly, "poison", 0.5)
    # They are beside it whenever it strikes.
    await producer.send_naps("neighbour", 12, 2.0)

    async def has_struck() -> bool:
        world.records.refresh()
        return len(world.records.deaths) >= _DELIVERIES

    async def is_buried() -> bool:
        return bool(await dead_letters.count())

    await eventually(has_struck, within=60.0)
    await producer.send_naps("later", 20, 0.0)
    await world.drain()
    await eventually(is_buried, within=20.0)
    # Should it not be out of the way, it would strike again by then.
    await asyncio.sleep(2 * world.lease)
    world.records.refresh()
    strikes = len(world.records.deaths)
    world.expect(strikes == _DELIVERIES, f"it was run {strikes} times, {_DELIVERIES} are allowed")
    letters = [(letter.task_id, letter.reason, letter.deliveries) for letter in await dead_letters.list()]
    world.expect(letters == [("poison", DeadReason.WORKER_LOST, _DELIVERIES)], f"the dead letters are {letters}")
