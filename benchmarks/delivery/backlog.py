"""How quickly one worker runs a backlog of tasks that do nothing."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis

from benchmarks.delivery.app import KIQSTART, make_broker
from benchmarks.process_tree import cpu_seconds
from kiqstart.redis.client import delete_keys
from kiqstart.tasks.task import Task
from kiqstart.testing.processes import ProcessFactory, kiqstart_command


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One turn.

    Args:
        tasks_a_second: that ended, from when a tenth of them had.
        cpu_seconds: of the worker, for each task.
        sent_a_second: of these tasks, in steps of many.
    """

    tasks_a_second: float
    cpu_seconds: float
    sent_a_second: float


async def backlog_of(tasks: int, redis_url: str, folder: Path, environment: Mapping[str, str]) -> Measured:
    """Let one worker run tasks that do nothing and wait already, with variables that the benchmark's app reads."""
    environment = {"REDIS_URL": redis_url, "BENCHMARK_BROKER": KIQSTART, **environment}
    start = ProcessFactory(
        command=kiqstart_command(
            "worker", "benchmarks.delivery.app:broker", "--workers", "1", "--log-level", "WARNING"
        ),
        environment=environment,
        ready="",
        log_folder=folder,
    )
    broker = make_broker(KIQSTART, redis_url, environment)
    task = broker.find_task("nothing")
    if not isinstance(task, Task):
        raise TypeError(f"{task!r} is not kiqstart's kind of task")
    began = time.perf_counter()
    await task.kiq_many(task.call() for _ in range(tasks))
    sent_a_second = tasks / (time.perf_counter() - began)
    async with Redis.from_url(redis_url) as redis:
        with start(wait=False) as process:
            while await redis.xlen(KIQSTART) > tasks * 0.9:  # noqa: ASYNC110  # another process runs them
                await asyncio.sleep(0.002)
            left, began, cpu = await redis.xlen(KIQSTART), time.perf_counter(), cpu_seconds(process.pid)
            while await redis.xlen(KIQSTART):  # noqa: ASYNC110  # another process runs them
                await asyncio.sleep(0.002)
            seconds, cpu = time.perf_counter() - began, cpu_seconds(process.pid) - cpu
            process.kill()
        await broker.shutdown()
        await delete_keys(redis, KIQSTART)
        await delete_keys(redis, f"{{{KIQSTART}}}")
    return Measured(tasks_a_second=left / seconds, cpu_seconds=cpu / left, sent_a_second=sent_a_second)
