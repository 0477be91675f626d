"""Rows per second, a bar for each way."""

import math
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.pictures.style import OTHER, OWN, plain, save
from benchmarks.retention.pictures.figures import SpeedPicture


def draw_speed(picture: SpeedPicture, file: Path) -> None:
    """Draw a panel for each table, on a logarithmic scale that they share."""
    panels = picture["panels"]
    bars = [len(panel["bars"]) for panel in panels]
    figure = Figure(figsize=(8, 0.9 + 0.34 * sum(bars) + 0.4 * len(bars)), layout="constrained")
    all_axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": bars})
    for axes, panel in zip(all_axes[:, 0], panels, strict=True):
        labels = [bar["label"] for bar in panel["bars"]]
        values = [bar["rows_per_second"] for bar in panel["bars"]]
        drawn = axes.barh(labels, values, color=[OWN if bar["is_own"] else OTHER for bar in panel["bars"]])
        axes.bar_label(drawn, [f"{float(f'{value:.2g}'):,.0f}" for value in values], padding=3)
        axes.invert_yaxis()
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_title(panel["title"], loc="left", fontweight="bold", fontsize=9)
        plain(axes)
    values = [bar["rows_per_second"] for panel in panels for bar in panel["bars"]]
    # From the power of ten below; on the right there is room for the numbers.
    all_axes[0, 0].set_xlim(10 ** math.floor(math.log10(min(values))), max(values) * 3)
    all_axes[-1, 0].set_xlabel("rows deleted per second (logarithmic)")
    save(figure, file, picture["caption"])
