"""A broker whose tasks may kill their process; the tests run it as `taskiq worker` and as `kiqstart worker`."""

import asyncio
import ctypes
import os
import signal
import time
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from taskiq import AsyncTaskiqDecoratedTask
from tests.deadlines import HANG

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.options import StreamOptions
from kiqstart.testing import eventually

QUICK = StreamOptions(lease=1.0)


class Tasks:
    """Registers them on a broker."""

    def __init__(self, broker: StreamBroker) -> None:
        self._name = broker.keys.name
        self.strike: AsyncTaskiqDecoratedTask[[str], Any] = broker.register_task(self._strike(), task_name="strike")
        self.block: AsyncTaskiqDecoratedTask[[float], Any] = broker.register_task(block, task_name="block")
        self.hold: AsyncTaskiqDecoratedTask[[str], Any] = broker.register_task(hold, task_name="hold")
        self.nap: AsyncTaskiqDecoratedTask[[float], Any] = broker.register_task(nap, task_name="nap")

    def _strike(self) -> Any:  # noqa: ANN401  # whatever taskiq takes
        async def strike(how: str) -> None:
            await asyncio.sleep(0.3)
            async with Redis.from_url(os.environ["REDIS_URL"]) as redis:
                await redis.incr(f"{self._name}:strikes")
            match how:
                case "exit":
                    os._exit(0)
                case "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                case _:
                    ctypes.string_at(0)

        return strike


async def block(seconds: float) -> None:
    time.sleep(seconds)  # noqa: ASYNC251  # the event loop is to stand still


async def nap(seconds: float) -> int:
    await asyncio.sleep(seconds)
    return os.getpid()


async def hold(file: str) -> int:
    """Tell by a file of that name and `.begun` that it has begun, and run until the file is there."""
    path = Path(file)
    path.with_suffix(".begun").touch()

    async def is_there() -> bool:
        return path.exists()  # noqa: ASYNC240  # takes no time

    await eventually(is_there, within=HANG)
    return os.getpid()


def made() -> StreamBroker:
    """A broker that no module holds."""
    new = StreamBroker(os.environ["REDIS_URL"], queue_name=os.environ["QUEUE_NAME"], options=QUICK)
    Tasks(new)
    return new


if "QUEUE_NAME" in os.environ:
    broker = made()
