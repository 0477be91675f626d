"""The worker's settings of arq."""

import os
from typing import ClassVar, Final

from arq.connections import RedisSettings
from arq.typing import WorkerCoroutine

from benchmarks.throughput.peers.protocol import QUEUE, REDIS_URL, RESULT_SECONDS
from benchmarks.throughput.peers.tally import count_run

redis_settings = RedisSettings.from_dsn(os.environ[REDIS_URL])
QUEUE_NAME: Final = f"arq:{QUEUE}"


async def nothing(context: dict[str, object]) -> None:
    """Do nothing but be counted."""
    del context
    count_run()


class WorkerSettings:
    """By default a worker takes 10 jobs at a time, and looks for new ones each half second."""

    functions: ClassVar[list[WorkerCoroutine]] = [nothing]
    redis_settings = redis_settings
    queue_name = QUEUE_NAME
    keep_result = RESULT_SECONDS
    max_jobs = 100
    poll_delay = 0.01
    log_results = False


logging = {"version": 1, "root": {"level": "WARNING"}}
