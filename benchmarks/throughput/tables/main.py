"""The tables of all contestants, from the parts in which they are compared."""

from collections.abc import Sequence
from typing import Final

from benchmarks.tables.figure_table import NO_FIGURE, FigureTable
from benchmarks.tables.section import Section
from benchmarks.tables.wording import ratio
from benchmarks.throughput.contestants import KIQSTART, TASKIQ
from benchmarks.throughput.results import Contestant, FiguresPart, Measure, Results
from benchmarks.throughput.tables.figures import Figures
from benchmarks.throughput.tables.targets import ahead_of_peers, targets
from benchmarks.throughput.tables.where import where
from benchmarks.throughput.tables.wording import written

_HOW: Final = (
    "Each cell has the median, in parentheses the least and the most, and the median's ratio to that of plain "
    "taskiq's stream broker in the same run. The task does nothing, and its result is stored for an hour. CPU a task "
    "is that of all of the worker's processes while it runs tasks with one; what its start cost is not in it. Idle is "
    "a worker that has run tasks before. The limits are loops of bare commands, no task queues. *: see the remarks."
)
_TABLES: Final = {
    "Tasks": (Measure.ONE_BY_ONE, Measure.IN_FLIGHT, Measure.BULK, Measure.RUN_1, Measure.RUN_2, Measure.CPU),
    "Waiting": (Measure.P50, Measure.P99, Measure.P50_POLLING, Measure.START),
    "Idling": (Measure.RSS, Measure.PSS, Measure.IDLE_CPU),
}


def main_section(results: Results) -> Section | None:
    """Contestants by measures."""
    parts = [part for part in (results.sending, results.running, results.waiting, results.limits) if part]
    if not parts:
        return None
    contestants = _contestants(parts)
    figures = Figures(figure for part in parts for figure in part.figures)
    return Section(
        title="Beside other task queues",
        how=_HOW,
        where=where(parts),
        tables=[
            *(_table(title, measures, figures, contestants) for title, measures in _TABLES.items()),
            _set_up(contestants),
        ],
    )


def _table(title: str, measures: Sequence[Measure], figures: Figures, contestants: Sequence[Contestant]) -> FigureTable:
    names = [one.name for one in contestants if figures.has(one.name, measures)]
    peers = [name for name in names if name != KIQSTART.name and not _is_limit(name)]
    return FigureTable(
        title=title,
        columns=("", *measures),
        rows=[[name, *(_cell(figures, name, measure) for measure in measures)] for name in names],
        remarks=[remark for name in names for remark in _remarks(figures, name, measures)],
        targets=[*targets(figures, measures), *ahead_of_peers(figures, peers, measures)],
    )


def _set_up(contestants: Sequence[Contestant]) -> FigureTable:
    rows = [
        [one.name, one.settings, one.acknowledged, ", ".join(" ".join(version) for version in one.versions.items())]
        for one in contestants
    ]
    return FigureTable(title="How each is set up", columns=("", "settings", "acknowledges", "versions"), rows=rows)


def _contestants(parts: Sequence[FiguresPart]) -> list[Contestant]:
    found = {one.name: one for part in parts for one in part.contestants}
    return sorted(found.values(), key=lambda one: _is_limit(one.name))


def _is_limit(name: str) -> bool:
    return name.startswith("limit")


def _cell(figures: Figures, name: str, measure: Measure) -> str:
    mark = "*" if figures.problems(name, measure) else ""
    values, median = figures.values(name, measure), figures.median(name, measure)
    if median is None:
        return mark or NO_FIGURE
    spread = f" ({written(min(values))} to {written(max(values))})" if len(values) > 1 else ""
    times = figures.ratio(name, TASKIQ.name, measure)
    beside = f", {ratio(times)}x" if times is not None and name != TASKIQ.name else ""
    return f"{written(median)}{mark}{spread}{beside}"


def _remarks(figures: Figures, name: str, measures: Sequence[Measure]) -> list[str]:
    by_problem: dict[str, list[str]] = {}
    for measure in measures:
        for problem in dict.fromkeys(figures.problems(name, measure)):
            by_problem.setdefault(problem, []).append(measure)
    return [f"* {name}: {problem} ({'; '.join(of)})." for problem, of in by_problem.items()]
