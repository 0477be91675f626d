"""The scheduler of the benchmark, on the broker that BENCHMARK_BROKER names."""

import os

from taskiq import AsyncBroker, ScheduleSource, TaskiqScheduler
from taskiq_redis import ListRedisScheduleSource, RedisStreamBroker

from kiqstart.broker.broker import StreamBroker
from kiqstart.scheduler.source import DurableScheduleSource

# Also the names of the keys in Redis.
KIQSTART = "bench-kiqstart"
TASKIQ = "bench-taskiq"
TASK = "nothing"


def make_broker(name: str, redis_url: str) -> AsyncBroker:
    """A broker with a task that does nothing."""
    kind = StreamBroker if name == KIQSTART else RedisStreamBroker
    made: AsyncBroker = kind(redis_url, queue_name=name)
    made.register_task(nothing, task_name=TASK)
    return made


def make_source(name: str, broker: AsyncBroker, redis_url: str) -> ScheduleSource:
    """Where that broker's schedules are kept."""
    if name == KIQSTART:
        return DurableScheduleSource(broker)
    return ListRedisScheduleSource(redis_url, prefix=name)


async def nothing() -> None:
    """Do nothing."""


def scheduler() -> TaskiqScheduler:
    """The scheduler of this process, as `taskiq scheduler` asks for it."""
    name, redis_url = os.environ["BENCHMARK_BROKER"], os.environ["REDIS_URL"]
    broker = make_broker(name, redis_url)
    return TaskiqScheduler(broker, [make_source(name, broker, redis_url)])
