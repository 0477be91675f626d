"""Turns results into a picture."""

from json import dumps
from pathlib import Path
from typing import Final

from benchmarks.separate import run_separate
from benchmarks.throughput.contestants import KIQSTART
from benchmarks.throughput.pictures.figures import Bar, Panel, Picture
from benchmarks.throughput.results import HIGHER_IS_BETTER, Measure, Results
from benchmarks.throughput.tables.figures import Figures
from benchmarks.throughput.tables.where import where
from benchmarks.throughput.tables.wording import written

_DRAWN: Final = (
    Measure.ONE_BY_ONE,
    Measure.IN_FLIGHT,
    Measure.RUN_1,
    Measure.RUN_2,
    Measure.P50,
    Measure.CPU,
    Measure.RSS,
    Measure.START,
)
_LOGARITHMIC: Final = frozenset({Measure.P50})


async def draw(results: Results, folder: Path) -> None:
    """Write the picture of the contestants that were measured into a folder, whose path is absolute.

    Raises:
        SeparateProgramError: matplotlib is not installed, or failed.
    """
    parts = [part for part in (results.sending, results.running, results.waiting) if part]
    figures = Figures(figure for part in parts for figure in part.figures)
    names = list(dict.fromkeys(one.name for part in parts for one in part.contestants))
    panels = [panel for measure in _DRAWN if (panel := _panel(figures, names, measure))["bars"]]
    if panels:
        picture = Picture(caption=where(parts), panels=panels)
        await run_separate("benchmarks.throughput.pictures", str(folder / "throughput.svg"), given=dumps(picture))


def _panel(figures: Figures, names: list[str], measure: Measure) -> Panel:
    bars = [
        Bar(label=name, value=value, text=written(value), is_own=name == KIQSTART.name)
        for name in names
        if (value := figures.median(name, measure)) is not None
    ]
    note = "more is better" if measure in HIGHER_IS_BETTER else "less is better"
    return Panel(title=measure, note=note, is_logarithmic=measure in _LOGARITHMIC, bars=bars)
