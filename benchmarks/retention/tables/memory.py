"""The table of the fourth part."""

from benchmarks.retention.results import MemoryPart
from benchmarks.retention.tables.where import where
from benchmarks.tables.figure_table import FigureTable
from benchmarks.tables.section import Section
from benchmarks.tables.wording import at_most, mebibytes

_MOST_MEBIBYTES = 20


def memory_section(part: MemoryPart) -> Section:
    """What a worker needs by number of rows."""
    table = FigureTable(
        title="Resident memory of the worker's process",
        columns=("table", "rows deleted", "idle, MiB", "peak, MiB", "growth, MiB"),
        rows=[
            [run.table, f"{run.rows:,}", mebibytes(run.idle), mebibytes(run.peak), mebibytes(run.peak - run.idle)]
            for run in part.runs
        ],
        targets=[
            at_most(
                f"{run.table}, {run.rows:,} rows: growth", (run.peak - run.idle) / 2**20, _MOST_MEBIBYTES, unit=" MiB"
            )
            for run in part.runs
        ],
    )
    return Section(
        title="Memory",
        how="Each run has a fresh worker; idle is after its start and one other task.",
        where=where(part),
        tables=[table],
    )
