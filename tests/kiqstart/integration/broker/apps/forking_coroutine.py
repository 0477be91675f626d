"""A coroutine that forks: `python -m tests.….apps.forking_coroutine URL QUEUE_NAME LOOP`.

The child says what it was told.
"""

import asyncio
import os
import sys

import uvloop
from taskiq.exceptions import SendTaskError

from kiqstart.broker.broker import StreamBroker
from kiqstart.tasks.registration import register_task

broker = StreamBroker(sys.argv[1], queue_name=sys.argv[2])


async def greet(name: str) -> str:
    return name


task = register_task(broker, greet, name="greet")


async def try_it() -> None:
    for send in (lambda: task.kiq(name="child"), lambda: task.kiq_many([task.call(name="child")])):
        try:
            await send()
        except SendTaskError as error:
            sys.stdout.write(f"{type(error).__name__}: {error}\n")


async def main() -> int:
    await task.kiq(name="before")
    child = os.fork()
    if child == 0:
        await try_it()
        sys.stdout.flush()
        os._exit(0)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    await task.kiq(name="after")
    return os.waitstatus_to_exitcode(status)


sys.exit(uvloop.run(main()) if sys.argv[3] == "uvloop" else asyncio.run(main()))
