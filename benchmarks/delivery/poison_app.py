"""The worker of `benchmarks.delivery.poison`: tasks that rest, and one that kills its worker."""

import asyncio
import os
import signal
from typing import Any

from redis.asyncio import Redis
from taskiq import AsyncTaskiqDecoratedTask

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.options import StreamOptions

QUEUE = "bench-poison"
STRIKES = f"{{{QUEUE}}}:strikes"
_URL = os.environ.get("REDIS_URL", "redis://localhost:6379")

broker = StreamBroker(
    _URL,
    queue_name=QUEUE,
    options=StreamOptions(
        lease=2.0,
        max_deliveries=int(os.environ.get("POISON_DELIVERIES", "3")),
        quarantine=os.environ.get("POISON_QUARANTINE", "true") == "true",
    ),
)


async def _strike() -> None:
    await asyncio.sleep(0.5)
    async with Redis.from_url(_URL) as redis:
        await redis.incr(STRIKES)
    os.kill(os.getpid(), signal.SIGKILL)


rest: AsyncTaskiqDecoratedTask[[float], Any] = broker.register_task(asyncio.sleep, task_name="rest")
strike: AsyncTaskiqDecoratedTask[[], Any] = broker.register_task(_strike, task_name="strike")
