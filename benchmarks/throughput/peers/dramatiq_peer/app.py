"""The broker of dramatiq, which a worker loads."""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.throughput.peers.protocol import REDIS_URL, RESULT_SECONDS
from benchmarks.throughput.peers.tally import count_run

broker = RedisBroker(url=os.environ[REDIS_URL])
broker.add_middleware(
    Results(
        backend=RedisBackend(url=os.environ[REDIS_URL], use_namespace_prefix_keys=True),
        store_results=True,
        result_ttl=RESULT_SECONDS * 1000,
    )
)
dramatiq.set_broker(broker)


@dramatiq.actor
def nothing() -> None:
    """Do nothing but be counted."""
    count_run()
