"""What memory a worker needs for a clean-up."""

import asyncio
import sys
from itertools import product
from pathlib import Path
from typing import Final

from benchmarks.retention.dataset import Dataset
from benchmarks.retention.plan import Plan
from benchmarks.retention.results import Layout, MemoryPart, MemoryRun, Table

_SECONDS_BETWEEN_SAMPLES: Final = 0.02


async def measure_memory(plan: Plan) -> MemoryPart:
    """Look at a fresh worker's resident memory before and during each run; Linux only.

    Raises:
        RuntimeError: this is not Linux.
    """
    if sys.platform != "linux":
        raise RuntimeError("memory is measured on Linux only, which tells it under /proc")
    sizes = [plan.rows // 10, plan.rows, *([plan.rows * 10] if plan.large else [])]
    runs = [await _run(plan, table, rows) for rows, table in product(sizes, Table)]
    return MemoryPart(environment=plan.environment, rows=plan.rows, repeat=1, runs=runs)


async def _run(plan: Plan, table: Table, rows: int) -> MemoryRun:
    dataset = Dataset(table=table, layout=Layout.ORDERED, rows=rows)
    async with plan.datasets.fresh_copy(dataset) as url, plan.workers.start(url) as worker:
        process = _worker_process(worker.process.pid)
        idle, highest_before = _resident(process), _resident(process, "VmHWM")
        peaks = [idle]
        sampler = asyncio.create_task(_sample(process, peaks))
        await worker.delete(table)
        sampler.cancel()
        highest = _resident(process, "VmHWM")
    # The kernel's own peak counts, unless it is still the one of the start.
    peak = max(*peaks, highest if highest > highest_before else 0)
    plan.progress.say(f"memory: {table}, {rows:,} rows: {(peak - idle) / 2**20:.1f} MiB more than idle")
    return MemoryRun(table=table, rows=rows, idle=idle, peak=peak)


async def _sample(process: int, peaks: list[int]) -> None:
    while True:
        peaks.append(_resident(process))
        await asyncio.sleep(_SECONDS_BETWEEN_SAMPLES)


def _worker_process(group: int) -> int:
    """The largest process of the group: that of the tasks, not a helper of it."""
    return max(_processes(group), key=_resident)


def _processes(group: int) -> set[int]:
    # /proc/PID/stat: "PID (NAME) STATE PARENT GROUP …", and a name may hold anything.
    found: set[int] = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            after_name = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(after_name[2]) == group:
            found.add(int(folder.name))
    return found


def _resident(process: int, name: str = "VmRSS") -> int:
    lines = Path("/proc", str(process), "status").read_text().splitlines()
    (kilobytes,) = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(kilobytes) * 1024
