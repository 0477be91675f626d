"""The worker of the storm: short tasks that are counted, and long ones that become suspects."""

import asyncio
import os
from typing import Any

from redis.asyncio import Redis
from taskiq import AsyncTaskiqDecoratedTask

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.options import StreamOptions

QUEUE = "bench-storm"
COUNTER = f"{{{QUEUE}}}:ended"

broker = StreamBroker(
    os.environ.get("REDIS_URL", "redis://localhost:6379"),
    queue_name=QUEUE,
    options=StreamOptions(lease=2.0),
    result_ttl=60,
)
_redis: Redis = Redis.from_url(os.environ.get("REDIS_URL", "redis://localhost:6379"))


async def _short(seconds: float) -> None:
    await asyncio.sleep(seconds)
    await _redis.incr(COUNTER)


async def _long(seconds: float) -> None:
    await asyncio.sleep(seconds)


short: AsyncTaskiqDecoratedTask[[float], Any] = broker.register_task(_short, task_name="short")
long: AsyncTaskiqDecoratedTask[[float], Any] = broker.register_task(_long, task_name="long")
