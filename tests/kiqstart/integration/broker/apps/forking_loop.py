"""A child that goes on with its parent's event loop: `python -m tests.….apps.forking_loop URL QUEUE_NAME LOOP END`.

Both send at once; at the end the parent says whether its connections are still the ones that it had.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable
from typing import Final, cast

import uvloop
from taskiq.exceptions import SendTaskError
from tests.deadlines import HANG

from kiqstart.broker.broker import StreamBroker
from kiqstart.tasks.registration import register_task

SENDS: Final = 100

broker = StreamBroker(sys.argv[1], queue_name=sys.argv[2])


async def greet(name: str) -> str:
    return name


task = register_task(broker, greet, name="greet")


async def open_connections() -> None:
    sent = await task.kiq(name="before")
    await sent.is_ready()
    waiter = asyncio.create_task(sent.wait_result(timeout=HANG))
    # In the child its broker may close before it ends, which is nobody's to hear of.
    waiter.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.wait({waiter}, timeout=0.2)


async def connections() -> list[object]:
    connection = broker.connection
    return [
        await cast("Awaitable[object]", client.execute_command("CLIENT", "ID"))
        for client in (connection.scripts, connection.redis)
    ]


async def send(who: str) -> None:
    for number in range(SENDS // 2):
        await asyncio.gather(*(task.kiq(name=f"{who} {number} {half}") for half in range(2)))


def main() -> None:
    loop = uvloop.new_event_loop() if sys.argv[3] == "uvloop" else asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(open_connections())
    before = loop.run_until_complete(connections())
    child = os.fork()
    try:
        loop.run_until_complete(send("parent" if child else "child"))
    except SendTaskError as error:
        sys.stdout.write(f"{error}\n")
    if not child:
        if sys.argv[4] == "close":
            loop.run_until_complete(broker.shutdown())
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
        sys.stdout.flush()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    sys.stdout.write(f"{before == loop.run_until_complete(connections())}\n")
    for waiter in asyncio.all_tasks(loop):
        waiter.cancel()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    sys.exit(os.waitstatus_to_exitcode(status))


main()
