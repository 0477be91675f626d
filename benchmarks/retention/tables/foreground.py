"""The tables of the third part."""

from collections.abc import Sequence
from statistics import median
from typing import Final

from benchmarks.retention.foreground import CONNECTIONS, RATE
from benchmarks.retention.results import ForegroundPart, ForegroundRun, Table, Traffic
from benchmarks.retention.tables.where import where
from benchmarks.tables.figure_table import FigureTable, Target
from benchmarks.tables.section import Section
from benchmarks.tables.wording import at_most, grouped, milliseconds, spread

_HOW: Final = (
    f"{RATE} statements a second over {CONNECTIONS} connections, half reads and half updates of rows to keep by "
    "primary key. Latency counts from when a statement was due, so that waiting in line counts too; only "
    "statements that were due while the deletion ran are counted. Rows to delete lie between the others."
)
_COLUMNS = ("meanwhile", "p50, ms", "p99, ms", "longest, ms", "seconds", "statements")
_MOST_OF_UNBOUNDED = 1 / 3
_MOST_MILLISECONDS = 10
_MOST_OF_IDLE = 2


def foreground_section(part: ForegroundPart) -> Section:
    """A table for each table of rows."""
    return Section(
        title="Foreground",
        how=_HOW,
        where=where(part),
        tables=[_table(part, table) for table in Table],
    )


def _table(part: ForegroundPart, table: Table) -> FigureTable:
    cases = grouped([run for run in part.runs if run.table is table], key=lambda run: run.traffic)
    return FigureTable(
        title=table,
        columns=_COLUMNS,
        rows=[_row(runs) for runs in cases],
        targets=_targets({runs[0].traffic: median(run.p99 for run in runs) for runs in cases}),
    )


def _row(runs: Sequence[ForegroundRun]) -> list[str]:
    return [
        runs[0].traffic,
        spread([run.p50 for run in runs], milliseconds),
        spread([run.p99 for run in runs], milliseconds),
        spread([run.longest for run in runs], milliseconds),
        f"{median(run.seconds for run in runs):.1f}",
        f"{median(run.samples for run in runs):.0f}",
    ]


def _targets(p99: dict[Traffic, float]) -> list[Target]:
    idle, default = p99[Traffic.IDLE], p99[Traffic.KIQSTART]
    return [
        at_most("kiqstart's p99 of that of the unbounded DELETE", default / p99[Traffic.UNBOUNDED], _MOST_OF_UNBOUNDED),
        at_most(f"kiqstart's p99, idle being {milliseconds(idle)} ms,", default * 1000, _MOST_MILLISECONDS, unit=" ms"),
        *(
            at_most(f"p99 with {traffic.rpartition(' ')[2]}, of idle", p99[traffic] / idle, _MOST_OF_IDLE)
            for traffic in (Traffic.PAUSE, Traffic.RATE)
        ),
    ]
