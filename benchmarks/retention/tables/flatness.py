"""The table of the second part."""

from collections.abc import Sequence
from statistics import median
from typing import Final

from benchmarks.retention.results import FlatnessPart, FlatnessRun
from benchmarks.retention.tables.where import where
from benchmarks.tables.figure_table import FigureTable, Target
from benchmarks.tables.section import Section
from benchmarks.tables.wording import at_most, grouped, ratio, spread

_HOW: Final = (
    "Rows in the heap are ordered. The first five batches, in which the pace finds its size, are left out; a tenth is "
    "one of the rows deleted after them, and its figures are medians of its batches. Cells are empty where a run had "
    "too few batches."
)
_COLUMNS = (
    "table",
    "beside an old transaction",
    "first tenth, µs/row",
    "last tenth, µs/row",
    "last of first, per row",
    "last of first, per batch",
    "longest batch, ms",
    "batches",
)
_MOST_GROWTH = 1.3
_MOST_MILLISECONDS = 250


def flatness_section(part: FlatnessPart) -> Section:
    """The last batches beside the first."""
    cases = grouped(part.runs, key=lambda run: (run.table, run.beside_old_transaction))
    table = FigureTable(
        title="The last tenth of the rows against the first",
        columns=_COLUMNS,
        rows=[_row(runs) for runs in cases],
        targets=[target for runs in cases for target in _targets(runs)],
    )
    return Section(
        title="Flatness",
        how=_HOW,
        where=where(part),
        tables=[table],
    )


def _row(runs: Sequence[FlatnessRun]) -> list[str]:
    first = [run.first.seconds_per_row for run in runs if run.first]
    last = [run.last.seconds_per_row for run in runs if run.last]
    per_row, per_batch, longest = _growth_per_row(runs), _growth_per_batch(runs), _longest(runs)
    return [
        runs[0].table,
        "yes" if runs[0].beside_old_transaction else "no",
        f"{median(first) * 1e6:.1f}" if first else "",
        f"{median(last) * 1e6:.1f}" if last else "",
        spread(per_row, ratio) if per_row else "",
        spread(per_batch, ratio) if per_batch else "",
        spread(longest, lambda value: f"{value:.0f}") if longest else "",
        f"{median(run.batches for run in runs):.0f}",
    ]


def _targets(runs: Sequence[FlatnessRun]) -> list[Target]:
    case = f"{runs[0].table}{', beside an old transaction' if runs[0].beside_old_transaction else ''}"
    per_row, longest = _growth_per_row(runs), _longest(runs)
    return [
        at_most(f"{case}: time per row, last of first", median(per_row) if per_row else None, _MOST_GROWTH),
        at_most(f"{case}: longest batch", max(longest) if longest else None, _MOST_MILLISECONDS, unit=" ms"),
    ]


def _growth_per_row(runs: Sequence[FlatnessRun]) -> list[float]:
    return [run.last.seconds_per_row / run.first.seconds_per_row for run in runs if run.first and run.last]


def _growth_per_batch(runs: Sequence[FlatnessRun]) -> list[float]:
    return [run.last.seconds_per_batch / run.first.seconds_per_batch for run in runs if run.first and run.last]


def _longest(runs: Sequence[FlatnessRun]) -> list[float]:
    """Milliseconds of each run's longest batch."""
    return [run.report.longest_batch * 1000 for run in runs if run.report]
