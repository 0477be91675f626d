"""The queue of saq, which a worker loads."""

import os
from typing import Final

from redis.asyncio import Redis
from saq.queue.redis import RedisQueue
from saq.types import Context

from benchmarks.throughput.peers.protocol import QUEUE, REDIS_URL
from benchmarks.throughput.peers.tally import count_run

# Each job under way takes a connection, of which redis-py's pool has 100.
_CONCURRENCY: Final = 50

# `Queue.from_url` knows no sockets.
queue = RedisQueue(Redis.from_url(os.environ[REDIS_URL]), name=QUEUE)


async def nothing(context: Context) -> None:
    """Do nothing but be counted."""
    del context
    count_run()


settings = {"queue": queue, "functions": [nothing], "concurrency": _CONCURRENCY}
