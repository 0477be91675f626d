"""Rows per second and bytes of the write-ahead log, of the engine and its peers."""

from collections.abc import AsyncGenerator
from itertools import product
from typing import Final

from benchmarks.retention.connection import connect, fetch_int
from benchmarks.retention.contestants import Contestants
from benchmarks.retention.dataset import Dataset, count_deletable
from benchmarks.retention.plan import Plan
from benchmarks.retention.results import Contestant, Layout, SpeedPart, SpeedRun, Table

WAL_POSITION = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
# They differ from the limit by more than runs differ, or where nobody else is, not at all.
_ONCE: Final = frozenset(Contestant) - {Contestant.UNBOUNDED, Contestant.KIQSTART}
# These take as long wherever the rows lie, and with or without an old transaction beside.
_ALIKE: Final = frozenset({Contestant.PER_USER, Contestant.DJANGO, Contestant.GENTLE})


async def measure_speed(plan: Plan) -> SpeedPart:
    """Let the contestants take turns on each table, in each layout, with and without an old transaction beside."""
    runs = [
        run
        for beside_old, table, layout in product((False, True), Table, Layout)
        async for run in _take_turns(plan, Dataset(table=table, layout=layout, rows=plan.rows), beside_old)
    ]
    return SpeedPart(environment=plan.environment, rows=plan.rows, repeat=plan.repeat, runs=runs)


async def _take_turns(plan: Plan, dataset: Dataset, beside_old: bool) -> AsyncGenerator[SpeedRun]:
    left = [
        one
        for one in Contestants.of(dataset.table)
        if one not in _ALIKE or (dataset.layout is Layout.SHUFFLED and not beside_old)
    ]
    for _ in range(plan.repeat):
        for contestant in tuple(left):
            run = await _run(plan, dataset, contestant, beside_old=beside_old)
            if contestant in _ONCE or run.seconds > plan.once_above:
                left.remove(contestant)
            yield run


async def _run(plan: Plan, dataset: Dataset, contestant: Contestant, *, beside_old: bool) -> SpeedRun:
    contestants = Contestants(workers=plan.workers, most_seconds=plan.most_seconds)
    async with plan.datasets.fresh_copy(dataset, beside_old_transaction=beside_old) as url:
        async with connect(url) as connection:
            before = await fetch_int(connection, WAL_POSITION)
            measured = await contestants.run(contestant, url, dataset.table)
            after = await fetch_int(connection, WAL_POSITION)
        deleted = dataset.rows - await count_deletable(url, dataset.table)
    if measured.finished and deleted != dataset.rows:
        raise RuntimeError(f"{contestant} left {dataset.rows - deleted} rows of {dataset}")
    run = SpeedRun(
        table=dataset.table,
        layout=dataset.layout,
        beside_old_transaction=beside_old,
        contestant=contestant,
        deleted=deleted,
        seconds=measured.seconds,
        wal_bytes=after - before,
        finished=measured.finished,
        versions=measured.versions,
        report=measured.report,
    )
    beside = ", beside an old transaction" if beside_old else ""
    plan.progress.say(
        f"speed: {dataset.table}, {dataset.layout}{beside}: {contestant}: {run.rows_per_second:,.0f} rows/s"
    )
    return run
