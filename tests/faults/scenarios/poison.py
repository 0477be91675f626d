"""Tasks that take their workers down, each time."""

import asyncio

from tests.faults.scenario import scenario
from tests.faults.world import World

from kiqstart.broker.delivery import DeadLetterReason
from kiqstart.tasks.results.errors import WorkerLostError
from kiqstart.testing import eventually

_DELIVERIES = 3


_POISONS = ["poison-0", "poison-1"]


@scenario("tasks that kill their workers", both_receivers=True, lease=2.0)
async def poison(world: World) -> None:
    await world.workers(processes=2)
    producer = await world.producer()
    dead_letters = producer.broker.dead_letters
    world.may_vanish.update(_POISONS)
    # They strike one after the other, so that their neighbours go down with both.
    for number, name in enumerate(_POISONS):
        await producer.send(producer.tasks.deadly, name, 0.5 + number)
    await producer.send_naps("neighbour", 8, 1.0)

    async def lost() -> list[tuple[str | None, str, int]]:
        letters = await dead_letters.list()
        return sorted(
            (letter.task_id, letter.reason, letter.deliveries)
            for letter in letters
            if letter.reason == DeadLetterReason.WORKER_LOST
        )

    async def are_buried() -> bool:
        return len(await lost()) >= len(_POISONS)

    await eventually(are_buried, within=60.0)
    await producer.send_naps("later", 20, 0.0)
    await world.drain()
    # Should one not be out of the way, it would strike again by then.
    await asyncio.sleep(2 * world.lease)
    world.records.refresh()
    strikes = len(world.records.deaths)
    allowed = _DELIVERIES * len(_POISONS)
    world.expect(strikes <= allowed, f"they were run {strikes} times, {allowed} are allowed")
    for name in _POISONS:
        error = (await producer.broker.result_backend.get_result(name)).error
        world.expect(isinstance(error, WorkerLostError), f"the caller of {name} got {error!r}")
    letters = await lost()
    expected = [(name, DeadLetterReason.WORKER_LOST, _DELIVERIES) for name in _POISONS]
    world.expect(letters == expected, f"the dead letters are {letters}")
