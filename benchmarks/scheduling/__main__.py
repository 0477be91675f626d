"""Run it: `python -m benchmarks.scheduling [--schedules 1000] [--waiting 100000]`."""

import argparse
import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table

from benchmarks.redis import benchmark_redis
from benchmarks.scheduling.app import KIQSTART, TASKIQ, make_broker, make_source
from benchmarks.scheduling.measurements import Lateness, add_waiting, cpu_share, lateness
from kiqstart.redis.client import delete_keys
from kiqstart.testing.processes import ProcessFactory, ServiceProcess, taskiq_command


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured of one scheduler, beside so many schedules that wait."""

    name: str
    waiting: int
    idle: float
    spread: Lateness
    at_once: Lateness


def main() -> None:
    """Measure both schedulers on one Redis, one after the other, and print a table."""
    options = _options()
    with benchmark_redis() as (redis_url, folder):
        runs = [(TASKIQ, 0), (KIQSTART, 0), (KIQSTART, options.waiting)]
        rows = [asyncio.run(_measure(name, waiting, redis_url, folder, options)) for name, waiting in runs]
    _print(rows, options)


async def _measure(name: str, waiting: int, redis_url: str, folder: Path, options: argparse.Namespace) -> Row:
    async with _scheduler(name, redis_url, folder) as (process, redis):
        broker = make_broker(name, redis_url)
        source = make_source(name, broker, redis_url)
        await broker.startup()
        await source.startup()
        await add_waiting(source, waiting)
        row = Row(
            name=name,
            waiting=waiting,
            idle=await cpu_share(process.pid, options.idle),
            spread=await lateness(source, redis, name, count=options.schedules, span=options.span),
            at_once=await lateness(source, redis, name, count=options.schedules, span=0.0),
        )
        await source.shutdown()
        await broker.shutdown()
    async with Redis.from_url(redis_url) as redis:
        await delete_keys(redis, name)
    return row


@asynccontextmanager
async def _scheduler(name: str, redis_url: str, folder: Path) -> AsyncGenerator[tuple[ServiceProcess, Redis]]:
    # Plain taskiq asks for new schedules once a minute unless it is told to do it more often.
    command = taskiq_command("scheduler", "benchmarks.scheduling.app:scheduler", "--update-interval", "1")
    start = ProcessFactory(
        command=command,
        environment={"REDIS_URL": redis_url, "BENCHMARK_BROKER": name},
        ready="Startup completed",
        log_folder=folder,
    )
    async with Redis.from_url(redis_url) as redis:
        with start() as process:
            yield process, redis


def _print(rows: list[Row], options: argparse.Namespace) -> None:
    count = f"{options.schedules:,}"
    table = Table(title=f"{count} schedules due within {options.span:g} s, and {count} at once: milliseconds late")
    for title in ("scheduler", "others waiting", "idle CPU", "sent", "p50", "p99", "max", "at once: p50", "p99", "max"):
        table.add_column(title, justify="left" if title == "scheduler" else "right")
    for row in rows:
        late = [f"{one:.0f}" for one in (row.spread.p50, row.spread.p99, row.spread.most)]
        at_once = [f"{one:.0f}" for one in (row.at_once.p50, row.at_once.p99, row.at_once.most)]
        sent = f"{row.spread.sent + row.at_once.sent:,}"
        table.add_row(row.name, f"{row.waiting:,}", f"{row.idle:.2%}", sent, *late, *at_once)
    Console().print(table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scheduling", description=__doc__)
    parser.add_argument("--schedules", type=int, default=1000, help="how many are due")
    parser.add_argument("--span", type=float, default=60.0, help="seconds over which they are due")
    parser.add_argument("--waiting", type=int, default=100_000, help="others that wait meanwhile")
    parser.add_argument("--idle", type=float, default=20.0, help="seconds for which the idle CPU is measured")
    return parser.parse_args()


if __name__ == "__main__":
    main()
