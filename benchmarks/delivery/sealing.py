"""What signing and encrypting cost: `python -m benchmarks.delivery.sealing [--tasks 20000] [--repeat 10]`.

The same backlog of tasks that do nothing, again and again, in turn without keys, signed, and signed and encrypted; run
it with `nice -n -20` on a machine that does other things. The ratios are those of the medians.
"""

import argparse
import asyncio
import base64
import os
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.delivery.app import ENCRYPTION_KEYS, SIGNING_KEYS
from benchmarks.delivery.backlog import Measured, backlog_of
from benchmarks.progress import Progress
from benchmarks.redis import benchmark_redis


def main() -> None:
    """Measure, and print a table."""
    options = _options()
    progress, signing, encryption = Progress(), _key(), _key()
    ways = {
        "plain": {},
        "signed": {SIGNING_KEYS: signing},
        "signed and encrypted": {SIGNING_KEYS: signing, ENCRYPTION_KEYS: encryption},
    }
    measured: dict[str, list[Measured]] = {way: [] for way in ways}
    with benchmark_redis() as (redis_url, folder):
        for number in range(options.repeat):
            for way, environment in ways.items():
                progress.say(f"{number + 1} of {options.repeat}, {way}")
                measured[way].append(asyncio.run(backlog_of(options.tasks, redis_url, folder, environment)))
    table = Table(title=f"{options.tasks:,} tasks, one worker; medians of {options.repeat} turns")
    for title in (
        "messages are",
        "run a second",
        "of plain",
        "µs of the worker's CPU a task",
        "sent a second",
        "of plain",
    ):
        table.add_column(title, justify="left" if title.endswith("are") else "right")
    runs = {way: median(one.tasks_a_second for one in found) for way, found in measured.items()}
    sends = {way: median(one.sent_a_second for one in found) for way, found in measured.items()}
    for way, found in measured.items():
        cpu = median(one.cpu_seconds for one in found) * 1e6
        ran = (f"{runs[way]:,.0f}", f"{runs[way] / runs['plain']:.3f}", f"{cpu:.1f}")
        table.add_row(way, *ran, f"{sends[way]:,.0f}", f"{sends[way] / sends['plain']:.3f}")
    Console().print(table)


def _key() -> str:
    return f"benchmark:{base64.b64encode(os.urandom(32)).decode()}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.delivery.sealing", description=__doc__)
    parser.add_argument("--tasks", type=int, default=20_000, help="how many wait at the beginning of a turn")
    parser.add_argument("--repeat", type=int, default=10, help="how many turns each way has")
    return parser.parse_args()


if __name__ == "__main__":
    main()
