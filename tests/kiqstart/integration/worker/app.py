"""Brokers for `kiqstart worker tests.….worker.app:broker`, or `:make_broker`."""

import os
import sys
import time
from pathlib import Path

from taskiq import InMemoryBroker

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.options import StreamOptions
from kiqstart.testing import eventually

not_a_broker = "a string"
in_memory = InMemoryBroker()


async def tell_process() -> int:
    return os.getpid()


async def tell_modules() -> list[str]:
    return sorted(sys.modules)


async def wait_for_file(path: str) -> int:
    """Tell by a file of that name and `.waits` that it waits, and wait."""
    file = Path(path)
    file.with_suffix(".waits").touch()

    async def is_there() -> bool:
        return file.exists()  # noqa: ASYNC240  # it takes no time

    await eventually(is_there)
    return os.getpid()


async def block(path: str) -> None:
    Path(path).with_suffix(".waits").touch()
    time.sleep(60)  # noqa: ASYNC251  # what is to be ended


async def spin(path: str) -> None:
    Path(path).with_suffix(".waits").touch()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        pass


def make_broker() -> StreamBroker:
    """One delivery only: what goes down with its worker is a dead letter, what is given back is not."""
    made = StreamBroker(
        os.environ["REDIS_URL"],
        queue_name=os.environ["QUEUE_NAME"],
        options=StreamOptions(lease=1.0, max_deliveries=1),
        result_ttl=600.0,
    )
    made.register_task(tell_process, task_name="tell_process")
    made.register_task(tell_modules, task_name="tell_modules")
    made.register_task(wait_for_file, task_name="wait_for_file")
    made.register_task(block, task_name="block")
    made.register_task(spin, task_name="spin")
    return made


broker = make_broker()
