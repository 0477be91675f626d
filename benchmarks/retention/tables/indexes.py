"""The tables of the fifth part."""

from collections.abc import Sequence
from statistics import median
from typing import Final

from benchmarks.retention.results import IndexPart, IndexRun, Table
from benchmarks.retention.tables.where import where
from benchmarks.tables.figure_table import FigureTable
from benchmarks.tables.section import Section
from benchmarks.tables.wording import grouped, per_second, spread

_HOW: Final = (
    "What an index costs those who write, over one connection with synchronous_commit off (else the disk hides "
    "the rest), in tables from which the rows to delete are gone and vacuumed away, so that pages have room."
)
_COLUMNS = ("index", "written", "rows/s", "WAL, bytes/row", "heap-only updates, %")
_TITLES = {Table.SESSIONS: "Inserting sessions", Table.TODOS: "Completing todos"}


def index_section(part: IndexPart) -> Section:
    """A table for each table of rows."""
    return Section(
        title="Indexes",
        how=_HOW,
        where=where(part),
        tables=[_table(part, table) for table in Table],
    )


def _table(part: IndexPart, table: Table) -> FigureTable:
    cases = grouped([run for run in part.runs if run.table is table], key=lambda run: (run.variant, run.way))
    return FigureTable(title=_TITLES[table], columns=_COLUMNS, rows=[_row(runs) for runs in cases])


def _row(runs: Sequence[IndexRun]) -> list[str]:
    heap_only = [run.heap_only / run.rows for run in runs if run.heap_only is not None]
    return [
        runs[0].variant,
        runs[0].way,
        spread([run.rows / run.seconds for run in runs], per_second),
        f"{median(run.wal_bytes / run.rows for run in runs):,.0f}",
        f"{median(heap_only) * 100:.0f}" if heap_only else "",
    ]
