"""Tables of the first part."""

from collections.abc import Sequence
from itertools import product
from statistics import median
from typing import Final

from benchmarks.retention.results import Contestant, Layout, SpeedPart, SpeedRun, Table
from benchmarks.retention.tables.where import where
from benchmarks.tables.figure_table import FigureTable, Target
from benchmarks.tables.section import Section
from benchmarks.tables.wording import at_least, at_most, grouped, mebibytes, per_second, ratio, spread

_HOW: Final = (
    "The limit is one unbounded DELETE of the same rows. Before each run the table is a fresh copy of one that "
    "was vacuumed and analysed after it was loaded, is read once, and a checkpoint is made. A loop that takes "
    "longer than the limit of time is stopped and counted with what it has done (*); what takes long is run once. "
    "Of the write-ahead log the least counts: the whole server writes to it. The engine's own seconds do not have "
    "the way through the queue."
)
_COLUMNS = ("rows in heap", "way", "rows/s", "of the limit", "engine, s", "WAL, MiB", "runs")
_LEAST_OF_LIMIT = {
    (Layout.ORDERED, False): 0.8,
    (Layout.SHUFFLED, False): 0.6,
    (Layout.ORDERED, True): 0.6,
    (Layout.SHUFFLED, True): 0.6,
}
_MOST_WAL = 1.1
_LEAST_OF_PER_USER = 100


def speed_section(part: SpeedPart) -> Section:
    """A table for each table of rows, with and without an old transaction beside it."""
    return Section(
        title="Speed",
        how=_HOW,
        where=where(part),
        tables=[_table(part, table, beside_old=beside_old) for beside_old, table in product((False, True), Table)],
    )


def _table(part: SpeedPart, table: Table, *, beside_old: bool) -> FigureTable:
    runs = [run for run in part.runs if (run.table, run.beside_old_transaction) == (table, beside_old)]
    rows: list[list[str]] = []
    targets: list[Target] = []
    for of_layout in grouped(runs, key=lambda run: run.layout):
        limit = _median(of_layout, Contestant.UNBOUNDED)
        rows += [_row(of_one, limit) for of_one in grouped(of_layout, key=lambda run: run.contestant)]
        targets += _targets(of_layout, limit)
    versions = sorted({run.versions for run in runs if run.versions})
    return FigureTable(
        title=f"{table}{', beside an old transaction' if beside_old else ''}",
        columns=_COLUMNS,
        rows=rows,
        remarks=[f"The Django tutorial: {one}." for one in versions],
        targets=targets,
    )


def _row(runs: Sequence[SpeedRun], limit: float) -> list[str]:
    first = runs[0]
    reports = [run.report.seconds for run in runs if run.report]
    scans = sorted({run.report.scan for run in runs if run.report})
    speed = median(run.rows_per_second for run in runs)
    stopped = "" if all(run.finished for run in runs) else " *"
    return [
        first.layout,
        first.contestant + (f", {' or '.join(scans)}" if scans else "") + stopped,
        spread([run.rows_per_second for run in runs], per_second),
        ratio(speed / limit) if speed / limit >= 0.01 else f"{speed / limit:.1g}",  # noqa: PLR2004 - two digits
        f"{median(reports):.2f}" if reports else "",
        mebibytes(min(run.wal_bytes for run in runs)),
        str(len(runs)),
    ]


def _targets(runs: Sequence[SpeedRun], limit: float) -> list[Target]:
    layout, beside_old = runs[0].layout, runs[0].beside_old_transaction
    kiqstart = _median(runs, Contestant.KIQSTART)
    wal = _wal(runs, Contestant.KIQSTART) / _wal(runs, Contestant.UNBOUNDED)
    targets = [
        at_least(f"{layout}: kiqstart's rows/s of the limit's", kiqstart / limit, _LEAST_OF_LIMIT[layout, beside_old]),
        at_most(f"{layout}: kiqstart's WAL of the limit's", wal, _MOST_WAL),
    ]
    if any(run.contestant is Contestant.PER_USER for run in runs):
        times = kiqstart / _median(runs, Contestant.PER_USER)
        targets.append(
            at_least(f"{layout}: kiqstart's rows/s of those of a DELETE per user", times, _LEAST_OF_PER_USER)
        )
    return targets


def _median(runs: Sequence[SpeedRun], contestant: Contestant) -> float:
    return median(run.rows_per_second for run in runs if run.contestant is contestant)


def _wal(runs: Sequence[SpeedRun], contestant: Contestant) -> float:
    return min(run.wal_bytes for run in runs if run.contestant is contestant)
