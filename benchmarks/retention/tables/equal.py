"""Table of the part about equal values."""

from statistics import median
from typing import Final

from benchmarks.retention.results import Contestant, EqualPart
from benchmarks.retention.tables.where import where
from benchmarks.tables.figure_table import FigureTable, Target
from benchmarks.tables.section import Section
from benchmarks.tables.wording import at_least, grouped, per_second, ratio, spread

_HOW: Final = (
    "Rows that are equal in the cursor cannot be told apart by its index. The engine works at full pace, in the "
    "benchmark's own process; the limit is one unbounded DELETE of the same rows, in turns with it."
)
_COLUMNS: Final = ("rows", "limit, rows/s", "kiqstart, rows/s", "of the limit", "batches", "longest, s")
_LEAST: Final = 0.6


def equal_section(part: EqualPart) -> Section:
    """A row for each shape."""
    rows, targets = list[list[str]](), list[Target]()
    for runs in grouped(part.runs, key=lambda run: run.shape):
        limits = [run.rows_per_second for run in runs if run.contestant is Contestant.UNBOUNDED]
        own = [run for run in runs if run.contestant is Contestant.KIQSTART]
        share = median(run.rows_per_second for run in own) / median(limits)
        rows.append(
            [
                runs[0].shape,
                spread(limits, per_second),
                spread([run.rows_per_second for run in own], per_second),
                ratio(share),
                f"{median(run.batches or 0 for run in own):.0f}",
                f"{max(run.longest_batch or 0 for run in own):.2f}",
            ]
        )
        targets.append(at_least(f"{runs[0].shape}: kiqstart's rows/s of the limit's", share, _LEAST))
    table = FigureTable(title=f"{part.rows:,} rows", columns=_COLUMNS, rows=rows, remarks=[], targets=targets)
    return Section(title="Equal values", how=_HOW, where=where(part), tables=[table])
