"""The table of the part that varies one thing at a time."""

from collections.abc import Sequence
from statistics import median
from typing import Final

from benchmarks.tables.figure_table import NO_FIGURE, FigureTable, Target
from benchmarks.tables.section import Section
from benchmarks.tables.wording import at_least, ratio
from benchmarks.throughput.contestants import KIQSTART, TASKIQ
from benchmarks.throughput.results import Axis, ScaleFigure, ScalePart
from benchmarks.throughput.tables.where import where
from benchmarks.throughput.tables.wording import written

_HOW: Final = (
    "Tasks in a second of one worker process with 100 tasks at once, unless the table says otherwise; medians, in "
    "parentheses least and most. The payload is a string; the statement is an INSERT in a transaction of its own, "
    "through SQLAlchemy and asyncpg. Of many waiting tasks only the first are run."
)
_LEAST_OF_FEW: Final = 0.8


def scale_section(part: ScalePart) -> Section:
    """A table for each axis."""
    return Section(
        title="Scale",
        how=_HOW,
        where=f"{where([part])} {part.environment.database}.",
        tables=[_table(part, axis) for axis in Axis if any(one.axis is axis for one in part.figures)],
    )


def _table(part: ScalePart, axis: Axis) -> FigureTable:
    figures = [one for one in part.figures if one.axis is axis]
    points = list(dict.fromkeys(one.point for one in figures))
    return FigureTable(
        title=axis[0].upper() + axis[1:],
        columns=(axis if axis is not Axis.MEMORY else Axis.WAITING, KIQSTART.name, TASKIQ.name, "ratio"),
        rows=[[point, *_cells(figures, point)] for point in points],
        remarks=list(
            dict.fromkeys(f"* {one.contestant}, {one.point}: {one.problem}." for one in figures if one.problem)
        ),
        targets=_flat(figures) if axis is Axis.WAITING else (),
    )


def _cells(figures: Sequence[ScaleFigure], point: str) -> list[str]:
    own, others = _values(figures, point, KIQSTART.name), _values(figures, point, TASKIQ.name)
    times = ratio(median(own) / median(others)) if own and others else ""
    return [_cell(figures, point, KIQSTART.name), _cell(figures, point, TASKIQ.name), times]


def _cell(figures: Sequence[ScaleFigure], point: str, name: str) -> str:
    values = _values(figures, point, name)
    mark = "*" if any(one.problem for one in figures if (one.point, one.contestant) == (point, name)) else ""
    if not values:
        return mark or NO_FIGURE
    spread = f" ({written(min(values))} to {written(max(values))})" if len(values) > 1 else ""
    return f"{written(median(values))}{mark}{spread}"


def _values(figures: Sequence[ScaleFigure], point: str, name: str) -> list[float]:
    return [one.value for one in figures if (one.point, one.contestant) == (point, name) and one.value is not None]


def _flat(figures: Sequence[ScaleFigure]) -> list[Target]:
    points = list(dict.fromkeys(one.point for one in figures if one.contestant == KIQSTART.name))
    if len(points) < 2:  # noqa: PLR2004 - nothing to compare
        return []
    # The first has so few tasks that its run is hardly begun when it ends.
    few, many = (_values(figures, point, KIQSTART.name) for point in points[-2:])
    value = median(many) / median(few) if few and many else None
    return [at_least(f"tasks/s with {points[-1]} waiting, of those with {points[-2]}", value, _LEAST_OF_FEW)]
