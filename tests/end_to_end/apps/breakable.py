"""A task that fails until it is mended."""

import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from taskiq import AsyncBroker

from kiqstart.tasks.registration import register_task
from kiqstart.tasks.task import Task

MENDED_VARIABLE = "BREAKABLE_MENDED"


async def work(number: int) -> int:
    if not Path(os.environ[MENDED_VARIABLE]).exists():  # noqa: ASYNC240  # one file, and nobody else in this loop
        raise ValueError("broken\x1b[31m")
    return number * 2


def register(broker: AsyncBroker) -> Task[[int], Coroutine[Any, Any, int]]:
    return register_task(broker, work, name="breakable", max_retries=1, retry_delay=0)
