"""What the workers of these tests run."""

import os
import time
from pathlib import Path
from typing import Any, cast

from redis.asyncio import Redis
from taskiq import AsyncBroker

from kiqstart.tasks.registration import register_task
from kiqstart.tasks.task import Task
from kiqstart.testing import eventually


async def tell_process() -> int:
    return os.getpid()


async def fail_first() -> int:
    async with Redis.from_url(os.environ["REDIS_URL"]) as redis:
        tries = int(await redis.incr(f"{os.environ['QUEUE_NAME']}:tries"))
    if tries == 1:
        raise OSError("the first try")
    return os.getpid()


async def linger() -> list[int]:
    """Wait for a second process, and tell both."""
    name = f"{os.environ['QUEUE_NAME']}:lingering"
    async with Redis.from_url(os.environ["REDIS_URL"]) as redis:
        await redis.rpush(name, os.getpid())

        async def are_two() -> bool:
            return await redis.llen(name) == 2

        await eventually(are_two)
        return [int(process) for process in cast("list[bytes]", await redis.lrange(name, 0, -1))]


async def block() -> None:
    time.sleep(30)  # noqa: ASYNC251  # what is to be replaced


async def wait_for_file(path: str) -> None:
    """Tell by a file of that name and `.waits` that it waits, and wait: Redis need not be there for it."""
    file = Path(path)
    file.with_suffix(".waits").touch()

    async def is_there() -> bool:
        return file.exists()  # noqa: ASYNC240  # it takes no time

    await eventually(is_there)


class Tasks:
    """All of them, registered."""

    def __init__(self, broker: AsyncBroker) -> None:
        self.tell_process: Task[[], Any] = register_task(broker, tell_process, name="tell-process")
        self.fail_first: Task[[], Any] = register_task(
            broker, fail_first, name="fail-first", max_retries=1, retry_delay=1.5
        )
        self.linger: Task[[], Any] = register_task(broker, linger, name="linger")
        self.block: Task[[], Any] = register_task(broker, block, name="block", timeout=0.2)
        self.wait_for_file: Task[[str], Any] = register_task(broker, wait_for_file, name="wait-for-file")
