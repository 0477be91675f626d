"""What other traffic notices of a deletion."""

import asyncio
import math
import os
import subprocess
import sys
import time
from array import array
from collections import defaultdict
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.retention.connection import connect
from benchmarks.retention.contestants import delete_all
from benchmarks.retention.dataset import Dataset
from benchmarks.retention.plan import Plan
from benchmarks.retention.results import ForegroundPart, ForegroundRun, Layout, Point, Table, Traffic
from benchmarks.retention.worker import BATCH_LOG, FULL_PACE

_SETTINGS: Final[dict[Traffic, dict[str, str]]] = {
    Traffic.FULL: FULL_PACE,
    Traffic.GENTLE: {},
}
_MOST_SECONDS_IDLE: Final = 6.0
_LEAST_SECONDS_IDLE: Final = 2.0
# Idle for as long as deletions of so many rows a second take.
_ROWS_PER_SECOND: Final = 100_000
# Connections, plans and caches of the foreground get warm; half of it is shown in the picture.
_SECONDS_BEFORE: Final = 1.5
_SECONDS_SHOWN: Final = 1.0
_TENTH: Final = 0.1
_COMPUTE: Final = "while True: pass"


@dataclass(frozen=True, kw_only=True)
class _Deletion:
    started: float
    ended: float
    deleted: list[Point] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _Sample:
    due: float
    latency: float


async def measure_busy(plan: Plan) -> ForegroundPart:
    """Run the same on a host of which other programs use each core all the time."""
    busy = plan.environment.cores
    with _computing(busy):
        part = await measure_foreground(plan)
    return part.model_copy(update={"busy": busy})


async def measure_foreground(plan: Plan) -> ForegroundPart:
    """Run each traffic beside the foreground, in turns, on tables whose rows to delete lie between the others."""
    cases = product(Table, range(plan.repeat), Traffic)
    runs = [await _run(plan, table, traffic) for table, _, traffic in cases]
    return ForegroundPart(environment=plan.environment, rows=plan.rows, repeat=plan.repeat, runs=runs)


async def _run(plan: Plan, table: Table, traffic: Traffic) -> ForegroundRun:
    samples: list[_Sample] = []
    async with plan.datasets.fresh_copy(Dataset(table=table, layout=Layout.SHUFFLED, rows=plan.rows)) as url:
        deletion = await _beside_foreground(plan, url, table, traffic, samples)
    during = sorted(one.latency for one in samples if deletion.started <= one.due <= deletion.ended)
    run = ForegroundRun(
        table=table,
        traffic=traffic,
        seconds=deletion.ended - deletion.started,
        samples=len(during),
        p50=percentile(during, 0.5),
        p99=percentile(during, 0.99),
        longest=during[-1],
        deleted=deletion.deleted,
        latency=_by_tenths(samples, deletion.started),
    )
    plan.progress.say(f"foreground: {table}, {traffic}: p99 {run.p99 * 1000:.1f} ms in {run.seconds:.1f} s")
    return run


async def _beside_foreground(plan: Plan, url: str, table: Table, traffic: Traffic, samples: list[_Sample]) -> _Deletion:
    match traffic:
        case Traffic.IDLE:
            async with _foreground(url, table, samples):
                started = time.monotonic()
                await asyncio.sleep(max(_LEAST_SECONDS_IDLE, min(_MOST_SECONDS_IDLE, plan.rows / _ROWS_PER_SECOND)))
                return _Deletion(started=started, ended=time.monotonic())
        case Traffic.UNBOUNDED:
            async with connect(url) as connection, _foreground(url, table, samples):
                started = time.monotonic()
                await delete_all(connection, table)
                ended = time.monotonic()
                points = [Point(at=ended - started, value=0), Point(at=ended - started, value=plan.rows)]
                return _Deletion(started=started, ended=ended, deleted=points)
        case _:
            async with plan.workers.start(url, {**BATCH_LOG, **_SETTINGS[traffic]}) as worker:
                async with _foreground(url, table, samples):
                    deletion = await worker.delete(table)
                points, deleted = list[Point](), 0
                for batch in worker.batches():
                    deleted += batch.rows
                    points.append(Point(at=batch.ended - deletion.started, value=deleted))
                return _Deletion(started=deletion.started, ended=deletion.ended, deleted=points)


@contextmanager
def _computing(processes: int) -> Generator[None]:
    """Have so many processes compute all the time."""
    with ExitStack() as stack:
        for _ in range(processes):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", _COMPUTE]))
            stack.callback(process.kill)
        yield


@asynccontextmanager
async def _foreground(url: str, table: Table, samples: list[_Sample]) -> AsyncGenerator[None]:
    """Have the foreground run in a process of its own, and add its samples at the end."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "samples")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.retention.foreground", table, file,
            env={**os.environ, "DATABASE_URL": url}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        try:
            if process.stdout is None or not await process.stdout.readline():
                raise RuntimeError("the foreground has not become ready")
            await asyncio.sleep(_SECONDS_BEFORE)
            yield
            # Python 3.11 closes standard input only where something is given, be it nothing.
            await process.communicate(b"")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        samples += _samples(file)


def _samples(file: Path) -> list[_Sample]:
    values = array("d", file.read_bytes())
    return [_Sample(due=due, latency=latency) for due, latency in zip(values[::2], values[1::2], strict=True)]


def percentile(ordered: Sequence[float], fraction: float) -> float:
    """Return the value that this fraction of the values, in ascending order, does not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * fraction) - 1)]


def _by_tenths(samples: Sequence[_Sample], started: float) -> list[Point]:
    tenths: defaultdict[int, list[float]] = defaultdict(list)
    for sample in samples:
        if sample.due >= started - _SECONDS_SHOWN:
            tenths[math.floor((sample.due - started) / _TENTH)].append(sample.latency)
    return [
        Point(at=round(number * _TENTH, 1), value=percentile(sorted(latencies), 0.99))
        for number, latencies in sorted(tenths.items())
    ]
