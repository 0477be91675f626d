"""Schedules: definitions, due times and what else lies where they are kept."""

import asyncio
from typing import Final

from tests.fuzz.judge import judged_log
from tests.fuzz.surface import Ground, Surface
from tests.kiqstart.integration.scheduler.hostile import PLANTS, Plant
from tests.kiqstart.integration.scheduler.test_bad_neighbours import send_beside


def _try_out(ground: Ground, plant: Plant) -> None:
    # Messages that cannot be made are given up at once, or never.
    for deadline in (0.0, 1e9):
        with judged_log():
            asyncio.run(send_beside(ground.redis_url, ground.new_prefix(), plant, deadline=deadline))


SURFACE: Final = Surface(
    name="schedules", inputs=PLANTS, try_out=_try_out, size=lambda plant: len(plant.bad) + 3, examples=6
)
