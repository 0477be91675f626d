"""The worker of the benchmark: one task that does nothing, on the broker that BENCHMARK_BROKER names."""

import os
from collections.abc import Mapping

from taskiq import AsyncBroker

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.options import StreamOptions
from kiqstart.tasks.sealing.sealing import Sealing

# Also the names of the keys in Redis.
KIQSTART = "bench-kiqstart"
TASKIQ = "bench-taskiq"
# How many ended runs kiqstart's keeps, where that is not its default.
RUNS_KEPT = "BENCHMARK_RUNS_KEPT"
# With which keys it signs and encrypts, where it does.
SIGNING_KEYS, ENCRYPTION_KEYS = "BENCHMARK_SIGNING_KEYS", "BENCHMARK_ENCRYPTION_KEYS"


def make_broker(name: str, redis_url: str, environment: Mapping[str, str] = os.environ) -> AsyncBroker:
    """A broker with its result backend, each with its defaults but for results that expire and what a variable says."""
    made: AsyncBroker
    if name == KIQSTART:
        kept = int(environment.get(RUNS_KEPT, StreamOptions().runs_kept))
        options, keys = StreamOptions(runs_kept=kept), environment.get(SIGNING_KEYS)
        sealing = Sealing(signing_keys=keys, encryption_keys=environment.get(ENCRYPTION_KEYS, "")) if keys else None
        made = StreamBroker(redis_url, queue_name=name, result_ttl=60, options=options, sealing=sealing)
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
