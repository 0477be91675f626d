"""Whether the last batches of a run are as quick as the first."""

from collections.abc import Sequence
from itertools import accumulate, product
from statistics import median
from typing import Final

from benchmarks.retention.dataset import Dataset
from benchmarks.retention.plan import Plan
from benchmarks.retention.results import FlatnessPart, FlatnessRun, Layout, Table, Tenth
from benchmarks.retention.worker import BATCH_LOG, FULL_PACE, Batch

# While the pace is finding its size.
_WARM_UP: Final = 5


async def measure_flatness(plan: Plan) -> FlatnessPart:
    """Run the clean-ups with a log of their batches."""
    cases = product((False, True), Table, range(plan.repeat))
    runs = [await _run(plan, table, beside_old=beside_old) for beside_old, table, _ in cases]
    return FlatnessPart(environment=plan.environment, rows=plan.rows, repeat=plan.repeat, runs=runs)


async def _run(plan: Plan, table: Table, *, beside_old: bool) -> FlatnessRun:
    dataset = Dataset(table=table, layout=Layout.ORDERED, rows=plan.rows)
    async with (
        plan.datasets.fresh_copy(dataset, beside_old_transaction=beside_old) as url,
        plan.workers.start(url, {**BATCH_LOG, **FULL_PACE}) as worker,
    ):
        deletion = await worker.delete(table)
        batches = worker.batches()
    first, last = tenths(batches)
    plan.progress.say(f"flatness: {table}{', beside an old transaction' if beside_old else ''}: {len(batches)} batches")
    return FlatnessRun(
        table=table,
        beside_old_transaction=beside_old,
        batches=len(batches),
        first=first,
        last=last,
        report=deletion.report,
    )


def tenths(batches: Sequence[Batch]) -> tuple[Tenth | None, Tenth | None]:
    """Return the first and the last tenth of the rows that were deleted after the very first batches."""
    # Batches without rows are stretches of the table in which nothing is to be deleted.
    counted = [batch for batch in batches if batch.rows][_WARM_UP:]
    total = sum(batch.rows for batch in counted)
    until = list(accumulate(batch.rows for batch in counted))
    first = [batch for batch, rows in zip(counted, until, strict=True) if rows - batch.rows < total / 10]
    last = [batch for batch, rows in zip(counted, until, strict=True) if rows > total * 9 / 10]
    return (_tenth(first), _tenth(last)) if len(counted) > 1 else (None, None)


def _tenth(batches: Sequence[Batch]) -> Tenth:
    return Tenth(
        batches=len(batches),
        seconds_per_row=median(batch.seconds / batch.rows for batch in batches),
        seconds_per_batch=median(batch.seconds for batch in batches),
    )
