"""The tables of the third part."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

from benchmarks.retention.foreground import CONNECTIONS, RATE
from benchmarks.retention.results import ForegroundPart, ForegroundRun, Table, Traffic
from benchmarks.retention.tables.where import where
from benchmarks.tables.figure_table import FigureTable
from benchmarks.tables.section import Section
from benchmarks.tables.wording import at_least, at_most, grouped, milliseconds, per_second, ratio, spread

_HOW: Final = (
    f"{RATE} statements a second over {CONNECTIONS} connections, half reads and half updates of rows to keep by "
    "primary key. Latency counts from when a statement was due, so that waiting in line counts too; only "
    "statements that were due while the deletion ran are counted. Rows to delete lie between the others."
)
_COLUMNS = (
    "meanwhile", "p50, ms", "p99, ms", "of idle", "of the DELETE", "longest, ms", "rows/s", "seconds", "statements",
)  # fmt: skip
_MOST_OF_IDLE = 2
_LEAST_OF_FULL = 0.25


def foreground_section(part: ForegroundPart) -> Section:
    """A table for each table of rows."""
    return Section(
        title="Foreground, on a busy host" if part.busy else "Foreground",
        how=f"{_HOW} Beside all this {part.busy} processes compute all the time." if part.busy else _HOW,
        where=where(part),
        tables=[_table(part, table) for table in Table],
    )


def _table(part: ForegroundPart, table: Table) -> FigureTable:
    cases = grouped([run for run in part.runs if run.table is table], key=lambda run: run.traffic)
    p99 = {runs[0].traffic: median(run.p99 for run in runs) for runs in cases}
    seconds = {runs[0].traffic: median(run.seconds for run in runs) for runs in cases}
    full, gentle = seconds[Traffic.FULL], seconds[Traffic.GENTLE]
    return FigureTable(
        title=table,
        columns=_COLUMNS,
        rows=[_row(part, runs, p99) for runs in cases],
        targets=[
            at_most("p99 beside a gentle clean-up, of idle", p99[Traffic.GENTLE] / p99[Traffic.IDLE], _MOST_OF_IDLE),
            at_least("a gentle clean-up's rows/s of those at full pace", full / gentle, _LEAST_OF_FULL),
        ],
    )


def _row(part: ForegroundPart, runs: Sequence[ForegroundRun], p99: Mapping[Traffic, float]) -> list[str]:
    traffic = runs[0].traffic
    seconds = median(run.seconds for run in runs)
    return [
        traffic,
        spread([run.p50 for run in runs], milliseconds),
        spread([run.p99 for run in runs], milliseconds),
        ratio(p99[traffic] / p99[Traffic.IDLE]),
        ratio(p99[traffic] / p99[Traffic.UNBOUNDED]),
        spread([run.longest for run in runs], milliseconds),
        "" if traffic is Traffic.IDLE else per_second(part.rows / seconds),
        f"{seconds:.1f}",
        f"{median(run.samples for run in runs):.0f}",
    ]
