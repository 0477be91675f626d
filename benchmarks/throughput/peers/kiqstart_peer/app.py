"""The broker of kiqstart, which a worker loads."""

import os

from benchmarks.throughput.peers.protocol import QUEUE, REDIS_URL, RESULT_SECONDS
from benchmarks.throughput.peers.taskiq_peer.tasks import register
from kiqstart.broker.broker import StreamBroker


def broker() -> StreamBroker:
    """A broker with its tasks, all guarantees on, and results that expire."""
    made = StreamBroker(os.environ[REDIS_URL], queue_name=QUEUE, result_ttl=RESULT_SECONDS, result_prefix="result")
    register(made)
    return made
