"""Reads figures from standard input, and writes the picture into the file that is named."""

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.pictures.style import OTHER, OWN, plain, prepare, save

if TYPE_CHECKING:
    from benchmarks.throughput.pictures.figures import Panel, Picture

_COLUMNS: Final = 2


def main() -> None:
    """Draw what was measured."""
    picture: Picture = json.load(sys.stdin)
    file = Path(sys.argv[1])
    file.parent.mkdir(parents=True, exist_ok=True)
    prepare()
    panels = picture["panels"]
    rows = math.ceil(len(panels) / _COLUMNS)
    bars = max(len(panel["bars"]) for panel in panels)
    figure = Figure(figsize=(9, rows * (0.7 + 0.22 * bars)), layout="constrained")
    all_axes = figure.subplots(rows, _COLUMNS, squeeze=False).flat
    for axes, panel in zip(all_axes, panels, strict=False):
        _draw(axes, panel)
    for axes in list(all_axes)[len(panels) :]:
        axes.set_visible(False)
    save(figure, file, picture["caption"])


def _draw(axes: Axes, panel: "Panel") -> None:
    bars = panel["bars"]
    values = [bar["value"] for bar in bars]
    colors = [OWN if bar["is_own"] else OTHER for bar in bars]
    drawn = axes.barh([bar["label"] for bar in bars], values, color=colors)
    axes.bar_label(drawn, [bar["text"] for bar in bars], padding=3)
    axes.invert_yaxis()
    if panel["is_logarithmic"]:
        axes.set_xscale("log")
        # From the power of ten below; on the right there is room for the numbers.
        axes.set_xlim(10 ** math.floor(math.log10(min(values))), max(values) * 6)
    else:
        axes.set_xlim(0, max(values) * 1.25)
    axes.set_xticks([], minor=False)
    axes.set_xticks([], minor=True)
    axes.set_title(f"{panel['title']} ({panel['note']})", loc="left", fontweight="bold", fontsize=8)
    plain(axes)


main()
