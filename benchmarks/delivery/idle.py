"""What idle workers cost Redis: `python -m benchmarks.delivery.idle [--workers 1000]`.

Each is a broker with a receiver of its own, many of them in a process. Commands are counted with those inside of
scripts, once the fleet is quiet; beside them stands what a message costs that wakes one of all these workers. The exit
code is 1 where a figure is beyond its limit.
"""

import argparse
import asyncio
import multiprocessing
import multiprocessing.synchronize
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table

from benchmarks.redis import benchmark_redis
from kiqstart.broker.broker import StreamBroker
from kiqstart.redis.client import delete_keys

_QUEUE: Final = "bench-idle"
_COMMANDS_A_SECOND: Final = 2.0
_FLEET: Final = 10_000
_PART_OF_A_CORE: Final = 0.9
_MICROSECONDS_TO_WAKE: Final = 1000.0
_SECONDS_BETWEEN_STARTS: Final = 0.02
_SECONDS_TO_CALM: Final = 10.0
_WOKEN: Final = 200


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What Redis has done so far."""

    seconds: float
    calls: Counter[str]


async def _nothing() -> None:
    """Do nothing."""


def _broker(redis_url: str) -> StreamBroker:
    broker = StreamBroker(redis_url, queue_name=_QUEUE, result_ttl=60)
    broker.register_task(_nothing, task_name="nothing")
    return broker


def _serve(redis_url: str, workers: int, started: "multiprocessing.synchronize.Semaphore") -> None:
    asyncio.run(_run_workers(redis_url, workers, started))


async def _run_workers(redis_url: str, workers: int, started: "multiprocessing.synchronize.Semaphore") -> None:
    from kiqstart.broker.receiver.stream_receiver import StreamReceiver

    listening: list[asyncio.Task[None]] = []
    for _ in range(workers):
        broker = _broker(redis_url)
        listening.append(asyncio.create_task(StreamReceiver(broker, max_async_tasks=100).listen(asyncio.Event())))
        await broker.consume()
        started.release()
        await asyncio.sleep(_SECONDS_BETWEEN_STARTS)
    await asyncio.wait(listening)


async def _measure(redis_url: str, options: argparse.Namespace) -> tuple[Counter[str], float, float]:
    """Calls and seconds of Redis' CPU a second, and its microseconds for a message."""
    async with Redis.from_url(redis_url) as redis:
        await asyncio.sleep(_SECONDS_TO_CALM)
        before = await _spent(redis)
        await asyncio.sleep(options.seconds)
        after = await _spent(redis)
        broker = _broker(redis_url)
        task = broker.find_task("nothing")
        if task is None:
            raise LookupError("the task is not registered")
        began = time.monotonic()
        for _ in range(_WOKEN):
            await (await task.kiq()).wait_result(timeout=10)
        woken, took = await _spent(redis), time.monotonic() - began
        await broker.shutdown()
    calls = Counter({name: count / options.seconds for name, count in (after.calls - before.calls).items()})
    idle = (after.seconds - before.seconds) / options.seconds
    return calls, idle, max((woken.seconds - after.seconds - idle * took) / _WOKEN, 0.0) * 1e6


async def _spent(redis: Redis) -> Spent:
    cpu, stats = await redis.info("cpu"), await redis.info("commandstats")
    return Spent(
        seconds=cpu["used_cpu_user"] + cpu["used_cpu_sys"],
        calls=Counter({name.removeprefix("cmdstat_"): one["calls"] for name, one in stats.items()}),
    )


def main() -> int:
    """Measure, print a table, and return the exit code."""
    options = _options()
    with benchmark_redis() as (redis_url, _):
        started = multiprocessing.get_context("spawn").Semaphore(0)
        sizes = [len(range(place, options.workers, options.processes)) for place in range(options.processes)]
        processes = [
            multiprocessing.get_context("spawn").Process(target=_serve, args=(redis_url, size, started), daemon=True)
            for size in sizes
        ]
        for process in processes:
            process.start()
        for _ in range(options.workers):
            started.acquire()
        try:
            calls, idle, waking = asyncio.run(_measure(redis_url, options))
        finally:
            for process in processes:
                process.kill()
                process.join()
            asyncio.run(_clean(redis_url))
    commands, fleet = calls.total() / options.workers, idle / options.workers * _FLEET
    rows = (
        ("commands of an idle worker a second", commands, _COMMANDS_A_SECOND),
        (f"of a core, for {_FLEET} such workers", fleet, _PART_OF_A_CORE),
        ("microseconds of Redis for a task that wakes one", waking, _MICROSECONDS_TO_WAKE),
    )
    table = Table("", "found", "limit", "", title=f"{options.workers} idle workers")
    for name, found, limit in rows:
        table.add_row(name, f"{found:.2f}", f"{limit:g}", "" if found <= limit else "BEYOND")
    console = Console()
    console.print(table)
    console.print({name: round(count / options.workers, 3) for name, count in calls.most_common(10)})
    return int(any(found > limit for _, found, limit in rows))


async def _clean(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as redis:
        await delete_keys(redis, _QUEUE)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.delivery.idle", description=__doc__)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="that have the workers")
    parser.add_argument("--seconds", type=float, default=20.0, help="for which Redis is watched")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
