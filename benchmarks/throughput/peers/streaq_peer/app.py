"""The worker of streaQ."""

import os
from typing import Final

import orjson
from streaq import Worker

from benchmarks.throughput.peers.protocol import QUEUE, REDIS_URL, RESULT_SECONDS
from benchmarks.throughput.peers.tally import count_run

_CONCURRENCY: Final = 100

worker = Worker(
    redis_url=os.environ[REDIS_URL],
    queue_name=QUEUE,
    concurrency=_CONCURRENCY,
    serializer=orjson.dumps,
    deserializer=orjson.loads,
    anyio_kwargs={"use_uvloop": True},
)


@worker.task(silent=True, ttl=RESULT_SECONDS)
async def nothing() -> None:
    """Do nothing but be counted."""
    count_run()
