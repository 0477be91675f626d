"""What idle workers cost Redis: `python -m benchmarks.delivery.idle [--workers 1 3 10 1000] [--queues 1]`.

Each is a broker with a receiver of its own, many of them in a process. Once a fleet is quiet, calls and Redis' CPU are
counted; then, with MONITOR, which of the commands clients have sent and which were run by their scripts; and what a
message costs that wakes one of all these workers. The exit code is 1 where a figure is beyond its limit.
"""

import argparse
import asyncio
import multiprocessing
import multiprocessing.synchronize
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
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
# Of a smaller one, the share of the janitor says nothing about `_FLEET` workers.
_LARGE: Final = 100
_MICROSECONDS_TO_WAKE: Final = 1000.0
_SECONDS_BETWEEN_STARTS: Final = 0.02
_SECONDS_TO_CALM: Final = 10.0
_WOKEN: Final = 200


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What Redis has done so far."""

    seconds: float
    calls: Counter[str]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a fleet costs.

    Args:
        sent: commands of an idle worker's clients a second.
        inside: calls of its scripts a second.
        cpu: part of a core that Redis takes for all workers.
        waking: microseconds of Redis for a task that wakes one.
        calls: of all workers a second, by command.
    """

    workers: int
    sent: float
    inside: float
    cpu: float
    waking: float
    calls: Counter[str]

    @property
    def cpu_of_fleet(self) -> float:
        """Part of a core for `_FLEET` such workers."""
        return self.cpu / self.workers * _FLEET

    @property
    def is_beyond(self) -> bool:
        """Whether a figure is beyond its limit."""
        is_heavy = self.workers >= _LARGE and self.cpu_of_fleet > _PART_OF_A_CORE
        return self.sent > _COMMANDS_A_SECOND or is_heavy or self.waking > _MICROSECONDS_TO_WAKE


async def _nothing() -> None:
    """Do nothing."""


def _broker(redis_url: str, queues: int) -> StreamBroker:
    weights = {"default": 1} | {f"q{number}": number + 1 for number in range(1, queues)}
    broker = StreamBroker(redis_url, queue_name=_QUEUE, queues=weights, result_ttl=60)
    broker.register_task(_nothing, task_name="nothing")
    return broker


def _serve(redis_url: str, workers: int, queues: int, started: "multiprocessing.synchronize.Semaphore") -> None:
    asyncio.run(_run_workers(redis_url, workers, queues, started))


async def _run_workers(
    redis_url: str, workers: int, queues: int, started: "multiprocessing.synchronize.Semaphore"
) -> None:
    from kiqstart.broker.receiver.stream_receiver import StreamReceiver

    listening: list[asyncio.Task[None]] = []
    for _ in range(workers):
        broker = _broker(redis_url, queues)
        listening.append(asyncio.create_task(StreamReceiver(broker, max_async_tasks=100).listen(asyncio.Event())))
        await broker.consume()
        started.release()
        await asyncio.sleep(_SECONDS_BETWEEN_STARTS)
    await asyncio.wait(listening)


async def _measure(redis_url: str, workers: int, queues: int, seconds: float) -> Found:
    async with Redis.from_url(redis_url) as redis:
        await asyncio.sleep(_SECONDS_TO_CALM)
        before = await _spent(redis)
        await asyncio.sleep(seconds)
        after = await _spent(redis)
        sent, inside = await _watch(redis, seconds / 2)
        began_at = await _spent(redis)
        broker = _broker(redis_url, queues)
        task = broker.find_task("nothing")
        if task is None:
            raise LookupError("the task is not registered")
        began = time.monotonic()
        for _ in range(_WOKEN):
            await (await task.kiq()).wait_result(timeout=10)
        woken, took = await _spent(redis), time.monotonic() - began
        await broker.shutdown()
    cpu = (after.seconds - before.seconds) / seconds
    return Found(
        workers=workers,
        sent=sent / workers,
        inside=inside / workers,
        cpu=cpu,
        waking=max((woken.seconds - began_at.seconds - cpu * took) / _WOKEN, 0.0) * 1e6,
        calls=Counter({name: count / seconds for name, count in (after.calls - before.calls).items()}),
    )


async def _watch(redis: Redis, seconds: float) -> tuple[float, float]:
    """How many commands a second clients send, and scripts run."""
    counts = [0, 0]
    async with redis.monitor() as monitor:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async for command in monitor.listen():
                    counts[command["client_type"] == "lua"] += 1
    return counts[0] / seconds, counts[1] / seconds


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
        found = [_measure_fleet(redis_url, workers, options) for workers in options.workers]
    _print(found, options.queues)
    return int(any(one.is_beyond for one in found))


def _measure_fleet(redis_url: str, workers: int, options: argparse.Namespace) -> Found:
    context = multiprocessing.get_context("spawn")
    started = context.Semaphore(0)
    sizes = [len(range(place, workers, options.processes)) for place in range(options.processes)]
    processes = [
        context.Process(target=_serve, args=(redis_url, size, options.queues, started), daemon=True)
        for size in sizes
        if size
    ]
    for process in processes:
        process.start()
    for _ in range(workers):
        started.acquire()
    try:
        return asyncio.run(_measure(redis_url, workers, options.queues, options.seconds))
    finally:
        for process in processes:
            process.kill()
            process.join()
        asyncio.run(_clean(redis_url))


def _print(found: Sequence[Found], queues: int) -> None:
    table = Table(title=f"Idle workers of {queues} queues, a worker and second")
    titles = (
        "workers",
        "sent (≤ 2)",
        "in scripts",
        "µs of Redis",
        "cores for 10,000 (≤ 0.9)",
        "µs to wake one (≤ 1000)",
        "",
    )
    for title in titles:
        table.add_column(title, justify="right")
    for one in found:
        fleet = f"{one.cpu_of_fleet:.2f}" if one.workers >= _LARGE else "-"
        cells = (
            f"{one.sent:.2f}",
            f"{one.inside:.2f}",
            f"{one.cpu / one.workers * 1e6:.0f}",
            fleet,
            f"{one.waking:.0f}",
        )
        table.add_row(f"{one.workers:,}", *cells, "BEYOND" if one.is_beyond else "")
    console = Console()
    console.print(table)
    for one in found:
        usual = {name: round(count / one.workers, 3) for name, count in one.calls.most_common(10)}
        console.print(f"{one.workers:,}: {usual}")


async def _clean(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as redis:
        await delete_keys(redis, _QUEUE)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.delivery.idle", description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 3, 10, 1000], help="sizes of the fleets")
    parser.add_argument("--queues", type=int, default=1, help="that each worker takes, of several weights")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="that have the workers")
    parser.add_argument("--seconds", type=float, default=20.0, help="for which Redis is watched")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
