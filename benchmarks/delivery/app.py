"""The worker of the benchmark: one task that does nothing, on the broker that BENCHMARK_BROKER names."""

import os

from taskiq import AsyncBroker

from kiqstart.broker.broker import StreamBroker

# Also the names of the keys in Redis.
KIQSTART = "bench-kiqstart"
TASKIQ = "bench-taskiq"


def make_broker(name: str, redis_url: str) -> AsyncBroker:
    """A broker with its result backend, each with its defaults but for results that expire."""
    made: AsyncBroker
    if name == KIQSTART:
        made = StreamBroker(redis_url, queue_name=name, result_ttl=60)
    else:
        # Here, so that it does not weigh on the other worker.
        from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

        results: RedisAsyncResultBackend[object] = RedisAsyncResultBackend(
            redis_url, result_ex_time=60, prefix_str=f"{name}:result"
        )
        made = RedisStreamBroker(redis_url, queue_name=name).with_result_backend(results)
    made.register_task(nothing, task_name="nothing")
    return made


async def nothing() -> None:
    """Do nothing."""


def broker() -> AsyncBroker:
    """The broker of this process, as `taskiq worker` asks for it."""
    return make_broker(os.environ["BENCHMARK_BROKER"], os.environ["REDIS_URL"])
