"""How fast other tasks run while workers are killed at random: `python -m benchmarks.delivery.storm [--kills 30]`.

Three times the same backlog of short tasks: with nothing killed, with kills, and with kills while 60 suspects of 1 to
15 s wait. What suspects cost is the difference of the last two.
"""

import argparse
import asyncio
import os
import random
import signal
import time
from pathlib import Path
from typing import cast

from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table

from benchmarks.redis import benchmark_redis
from kiqstart.broker.broker import StreamBroker
from kiqstart.redis.client import delete_keys
from kiqstart.testing.processes import ProcessFactory, ServiceProcess, taskiq_command

_PROCESSES = 3
_SHORT_SECONDS = 0.5
_BACKLOG = 20_000
_LONG_TASKS = 60


def main() -> None:
    """Measure, and print a table."""
    options = _options()
    with benchmark_redis() as (redis_url, folder):
        os.environ["REDIS_URL"] = redis_url
        table = Table(title=f"Short tasks a second, {_PROCESSES} workers, a kill -9 each {options.interval:g} s")
        for title in ("", "tasks a second", "dead letters"):
            table.add_column(title, justify="left" if not title else "right")
        for name, kills, long in (
            ("nothing is killed", 0, 0),
            ("workers are killed", options.kills, 0),
            ("workers are killed, and there are suspects", options.kills, _LONG_TASKS),
        ):
            rate, letters = asyncio.run(_measure(redis_url, folder, options, kills=kills, long_tasks=long))
            table.add_row(name, f"{rate:.0f}", str(letters))
        Console().print(table)


async def _measure(
    redis_url: str, folder: Path, options: argparse.Namespace, *, kills: int, long_tasks: int
) -> tuple[float, int]:
    from benchmarks.delivery import storm_app as app

    start = ProcessFactory(
        command=taskiq_command(
            *("worker", "benchmarks.delivery.storm_app:broker", "--workers", str(_PROCESSES)),
            *("--max-async-tasks", "40", "--log-level", "WARNING"),
        ),
        environment={"REDIS_URL": redis_url},
        ready="",
        log_folder=folder,
    )
    dice = random.Random(1)  # noqa: S311  # no secret
    async with Redis.from_url(redis_url) as redis:
        await delete_keys(redis, app.QUEUE)
        await delete_keys(redis, f"{{{app.QUEUE}}}")
        await asyncio.gather(*(app.long.kiq(dice.uniform(1.0, 15.0)) for _ in range(long_tasks)))
        await _make_suspects(redis, app.broker)
        for _ in range(_BACKLOG // 500):
            await asyncio.gather(*(app.short.kiq(_SHORT_SECONDS) for _ in range(500)))
        with start(wait=False) as process:
            while not await redis.get(app.COUNTER):  # noqa: ASYNC110  # another process counts
                await asyncio.sleep(0.1)
            before, began = int(await redis.get(app.COUNTER) or 0), time.monotonic()
            await _kill(process, dice, kills, options)
            rate = (int(await redis.get(app.COUNTER) or 0) - before) / (time.monotonic() - began)
            letters = await app.broker.dead_letters.count()
            process.kill()
        await app.broker.shutdown()
    return rate, letters


async def _make_suspects(redis: Redis, broker: StreamBroker) -> None:
    """Let what was sent wait as if its workers had died with it."""
    for entry, fields in cast("list[tuple[bytes, dict[bytes, bytes]]]", await redis.xrange(broker.keys.name)):
        await redis.xadd(broker.keys.suspects("default"), {b"data": fields[b"data"], b"deliveries": 2})
        await redis.xdel(broker.keys.name, entry)


async def _kill(process: ServiceProcess, dice: random.Random, kills: int, options: argparse.Namespace) -> None:
    for number in range(options.kills):
        workers = _children(process.pid)
        if workers and number < kills:
            os.kill(dice.choice(workers), signal.SIGKILL)
        await asyncio.sleep(options.interval)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.delivery.storm", description=__doc__)
    parser.add_argument("--kills", type=int, default=30, help="how many workers are killed")
    parser.add_argument("--interval", type=float, default=2.0, help="seconds between two of them")
    return parser.parse_args()


if __name__ == "__main__":
    main()
