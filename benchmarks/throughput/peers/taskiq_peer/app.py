"""The broker of plain taskiq, which a worker loads."""

import os

from taskiq import AsyncBroker
from taskiq.serializers import ORJSONSerializer
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.throughput.peers.protocol import CONTESTANT, QUEUE, REDIS_URL, RESULT_SECONDS
from benchmarks.throughput.peers.taskiq_peer.tasks import register

LIST = "taskiq list"


def broker() -> AsyncBroker:
    """A broker with its tasks and a result backend."""
    url = os.environ[REDIS_URL]
    kind = ListQueueBroker if os.environ[CONTESTANT] == LIST else RedisStreamBroker
    results: RedisAsyncResultBackend[object] = RedisAsyncResultBackend(
        url, result_ex_time=RESULT_SECONDS, prefix_str="result", serializer=ORJSONSerializer()
    )
    made: AsyncBroker = kind(url, queue_name=QUEUE).with_result_backend(results)
    made = made.with_serializer(ORJSONSerializer())
    register(made)
    return made
