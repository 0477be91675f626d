"""Turns results into pictures."""

from json import dumps
from pathlib import Path
from statistics import median

from benchmarks.retention.pictures.figures import (
    Bar,
    Figures,
    ForegroundPanel,
    ForegroundPicture,
    Line,
    SpeedPanel,
    SpeedPicture,
)
from benchmarks.retention.results import (
    Contestant,
    ForegroundPart,
    ForegroundRun,
    Layout,
    Part,
    Results,
    SpeedPart,
    Table,
    Traffic,
)
from benchmarks.separate import run_separate
from benchmarks.tables.wording import grouped


async def draw(results: Results, folder: Path) -> None:
    """Write the pictures of the parts that were measured into a folder, whose path is absolute.

    Raises:
        SeparateProgramError: matplotlib is not installed, or failed.
    """
    figures = Figures(
        speed=_speed_picture(results.speed) if results.speed else None,
        foreground=_foreground_picture(results.foreground) if results.foreground else None,
    )
    await run_separate("benchmarks.retention.pictures", str(folder), given=dumps(figures))


def _speed_picture(part: SpeedPart) -> SpeedPicture:
    return SpeedPicture(caption=_caption(part), panels=[_speed_panel(part, table) for table in Table])


def _foreground_picture(part: ForegroundPart) -> ForegroundPicture:
    return ForegroundPicture(caption=_caption(part), panels=[_foreground_panel(part, table) for table in Table])


def _caption(part: Part) -> str:
    settings = part.environment.settings
    return (
        f"{part.rows:,} rows deleted, {part.rows:,} kept; {part.environment.database.partition(' (')[0]}, "
        f"fsync {settings['fsync']}, shared_buffers {settings['shared_buffers']}, {part.environment.cores} cores"
    )


def _speed_panel(part: SpeedPart, table: Table) -> SpeedPanel:
    runs = [
        run
        for run in part.runs
        if run.table is table and run.layout is Layout.SHUFFLED and not run.beside_old_transaction
    ]
    bars = [
        Bar(
            label=of_one[0].contestant,
            rows_per_second=median(run.rows_per_second for run in of_one),
            is_own=of_one[0].contestant is Contestant.KIQSTART,
        )
        for of_one in grouped(runs, key=lambda run: run.contestant)
    ]
    return SpeedPanel(title=f"{table}, rows to delete between rows to keep", bars=bars)


def _foreground_panel(part: ForegroundPart, table: Table) -> ForegroundPanel:
    runs = [run for run in part.runs if run.table is table]
    lines = [
        _line(_typical([run for run in runs if run.traffic is one])) for one in (Traffic.UNBOUNDED, Traffic.GENTLE)
    ]
    return ForegroundPanel(title=table, lines=lines)


def _typical(runs: list[ForegroundRun]) -> ForegroundRun:
    """The run with the median of the 99th percentiles."""
    return sorted(runs, key=lambda run: run.p99)[len(runs) // 2]


def _line(run: ForegroundRun) -> Line:
    return Line(
        label=run.traffic,
        is_own=run.traffic is Traffic.GENTLE,
        deleted=[(0.0, 0.0), *((point.at, point.value) for point in run.deleted)],
        latency_ms=[(point.at, point.value * 1000) for point in run.latency],
    )
