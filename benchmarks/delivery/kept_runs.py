"""What it costs to keep ended runs: `python -m benchmarks.delivery.kept_runs [--tasks 20000] [--repeat 10]`.

The same backlog of tasks that do nothing, again and again, in turn with runs kept and without; run it with
`nice -n -20` on a machine that does other things. The ratio is that of the medians.
"""

import argparse
import asyncio
import os
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.delivery.app import RUNS_KEPT
from benchmarks.delivery.backlog import Measured, backlog_of
from benchmarks.progress import Progress
from benchmarks.redis import benchmark_redis
from kiqstart.broker.options import StreamOptions

_WAYS = {"kept": StreamOptions().runs_kept, "not kept": 0}


def main() -> None:
    """Measure, and print a table."""
    options = _options()
    progress = Progress()
    measured: dict[str, list[Measured]] = {way: [] for way in _WAYS}
    with benchmark_redis() as (redis_url, folder):
        for number in range(options.repeat):
            for way, kept in _WAYS.items():
                progress.say(f"{number + 1} of {options.repeat}, {way}")
                measured[way].append(asyncio.run(backlog_of(options.tasks, redis_url, folder, {RUNS_KEPT: str(kept)})))
    table = Table(title=f"{options.tasks:,} tasks, one worker; medians of {options.repeat} turns")
    for title in ("ended runs are", "tasks a second", "µs of the worker's CPU a task"):
        table.add_column(title, justify="left" if title.endswith("are") else "right")
    rates = {way: median(one.tasks_a_second for one in found) for way, found in measured.items()}
    for way, found in measured.items():
        table.add_row(way, f"{rates[way]:,.0f}", f"{median(one.cpu_seconds for one in found) * 1e6:.1f}")
    Console().print(table)
    Console().print(f"kept / not kept: {rates['kept'] / rates['not kept']:.3f}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.delivery.kept_runs", description=__doc__)
    parser.add_argument("--tasks", type=int, default=20_000, help="how many wait at the beginning of a turn")
    parser.add_argument("--repeat", type=int, default=10, help="how many turns each way has")
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.pop(RUNS_KEPT, None)
    main()
