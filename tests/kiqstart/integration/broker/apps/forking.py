"""Sends before, in and after a fork, with one broker: `python -m tests.….apps.forking URL QUEUE_NAME`."""

import asyncio
import os
import sys

from kiqstart.broker.broker import StreamBroker
from kiqstart.tasks.registration import register_task

broker = StreamBroker(sys.argv[1], queue_name=sys.argv[2])


async def greet(name: str) -> str:
    return name


task = register_task(broker, greet, name="greet")


async def send(name: str) -> None:
    await task.kiq(name=name)
    await broker.shutdown()


async def main() -> None:
    await task.kiq(name="before")
    child = os.fork()
    if child == 0:
        asyncio.run(send("child"))
        os._exit(0)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    await send("after")
    sys.exit(os.waitstatus_to_exitcode(status))


asyncio.run(main())
