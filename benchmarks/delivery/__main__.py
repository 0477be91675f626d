"""Run it: `python -m benchmarks.delivery [--tasks 100000]`."""

import argparse
import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table

from benchmarks.delivery.app import KIQSTART, TASKIQ, make_broker
from benchmarks.delivery.measurements import LeftBehind, left_behind
from benchmarks.redis import benchmark_redis
from kiqstart.redis.client import delete_keys
from kiqstart.testing.processes import ProcessFactory, taskiq_command


def main() -> None:
    """Measure both brokers on one Redis, one after the other, and print a table."""
    options = _options()
    with benchmark_redis() as (redis_url, folder):
        asyncio.run(_measure(redis_url, folder, options))


async def _measure(redis_url: str, folder: Path, options: argparse.Namespace) -> None:
    remains: dict[str, LeftBehind] = {}
    for name in (TASKIQ, KIQSTART):
        async with _worker(name, redis_url, folder) as redis:
            broker = make_broker(name, redis_url)
            await broker.startup()
            remains[name] = await left_behind(broker, redis, options.tasks)
            await broker.shutdown()
        async with Redis.from_url(redis_url) as redis:
            await delete_keys(redis, name)
    _print_remains(remains)


@asynccontextmanager
async def _worker(name: str, redis_url: str, folder: Path) -> AsyncGenerator[Redis]:
    start = ProcessFactory(
        command=taskiq_command("worker", "benchmarks.delivery.app:broker", "--workers", "1", "--log-level", "WARNING"),
        environment={"REDIS_URL": redis_url, "BENCHMARK_BROKER": name},
        ready="",
        log_folder=folder,
    )
    async with Redis.from_url(redis_url) as redis:
        with start():
            yield redis


def _print_remains(remains: dict[str, LeftBehind]) -> None:
    table = Table(title="What is left in Redis when the tasks have ended and their results were read")
    for title in ("broker", "tasks", "entries", "pending", "keys", "MiB before", "MiB after"):
        table.add_column(title, justify="left" if title == "broker" else "right")
    for name, one in remains.items():
        cells: Sequence[object] = (one.tasks, one.entries, one.pending, one.keys)
        sizes = (f"{one.memory_before / 2**20:.2f}", f"{one.memory_after / 2**20:.2f}")
        table.add_row(name, *(f"{cell:,}" for cell in cells), *sizes)
    Console().print(table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.delivery", description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000, help="tasks after which Redis is looked at")
    return parser.parse_args()


if __name__ == "__main__":
    main()
