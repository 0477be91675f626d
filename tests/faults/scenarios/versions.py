"""Workers of two versions side by side, as while a deploy rolls, and some of them are killed."""

import asyncio
import random
from typing import Final

from tests.faults.jobs import Edition
from tests.faults.scenario import scenario
from tests.faults.world import World

from kiqstart.broker.delivery import DeadLetterReason
from kiqstart.testing import eventually

_KILLS: Final = 3
_CALLS: Final = 8.0
_MISFIT_GRACE: Final = 12.0
_STRANGER: Final = "stranger"


@scenario("the version before beside this one, killed, frozen", lease=2.0, calls=0.0, recovers_within=float("inf"))
async def version_before(world: World) -> None:
    first, second = await asyncio.gather(world.old_worker(), world.old_worker())
    async with world.traffic(_CALLS, seed="the version before"):
        # The other one takes over what it had.
        await first.wait_until_running(1)
        first.kill()
        await asyncio.sleep(2 * world.lease)
        await second.wait_until_running(1)
        with second.frozen():
            new = await world.workers(processes=2)
            await asyncio.sleep(2 * world.lease)
        third = await world.old_worker()
        new.kill_worker()
        await asyncio.sleep(2 * world.lease)
    for group in (second, third):
        group.kill()


# What fits nobody is given up after the grace; what fits only workers that come later must be found in time.
@scenario(
    "workers of two versions, some killed",
    lease=2.0,
    calls=0.0,
    misfit_grace=_MISFIT_GRACE,
    recovers_within=float("inf"),
)
async def two_versions(world: World) -> None:
    old = await world.workers(processes=2, edition=Edition.OLD)
    producer = await world.producer()
    world.may_vanish.add(_STRANGER)
    await producer.send_unknown(_STRANGER)
    dice = random.Random(5)  # noqa: S311  # no secret
    async with world.traffic(_CALLS, seed="two versions", has_news=True):
        new = await world.workers(processes=2, edition=Edition.NEW)
        for _ in range(_KILLS):
            group = dice.choice((old, new))
            await group.wait_until_ready(1)
            group.kill_worker()
            await asyncio.sleep(dice.uniform(1.0, 2.5))
        old.terminate()
        await asyncio.sleep(1.0)

    async def is_buried() -> bool:
        letters = await producer.broker.dead_letters.list()
        return any((one.task_id, one.reason) == (_STRANGER, DeadLetterReason.UNKNOWN_TASK) for one in letters)

    await eventually(is_buried, within=3 * _MISFIT_GRACE)
