"""The application of Celery, which a worker loads."""

import os

from celery import Celery

from benchmarks.throughput.peers.protocol import QUEUE, REDIS_URL, RESULT_SECONDS
from benchmarks.throughput.peers.tally import count_run

# kombu has a notation of its own for sockets.
_URL = os.environ[REDIS_URL].replace("unix://", "redis+socket://").replace("?db=", "?virtual_host=")

app = Celery(broker=_URL, backend=_URL)
app.conf.update(
    task_default_queue=QUEUE,
    task_acks_late=True,
    worker_prefetch_multiplier=100,
    result_expires=RESULT_SECONDS,
    broker_connection_retry_on_startup=True,
)


@app.task(name="nothing")
def nothing() -> None:
    """Do nothing but be counted."""
    count_run()
