"""A deletion over time, and what other traffic notices of it."""

from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.pictures.style import OTHER, OWN, plain, save
from benchmarks.retention.pictures.figures import ForegroundPicture


def draw_foreground(picture: ForegroundPicture, file: Path) -> None:
    """Draw a column for each table: rows deleted so far above, the foreground's latency below."""
    panels = picture["panels"]
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    all_axes = figure.subplots(2, len(panels), sharex="col", sharey="row", squeeze=False)
    for (above, below), panel in zip(all_axes.T, panels, strict=True):
        for line in panel["lines"]:
            color = OWN if line["is_own"] else OTHER
            above.step(*zip(*line["deleted"], strict=True), where="post", color=color, label=line["label"])
            below.plot(*zip(*line["latency_ms"], strict=True), color=color, linewidth=1)
        above.set_title(panel["title"], loc="left", fontweight="bold", fontsize=9)
        below.set_yscale("log")
        below.yaxis.set_major_formatter("{x:g}")
        below.set_xlabel("seconds since the deletion began")
        plain(above)
        plain(below)
    all_axes[0, 0].set_ylabel("rows deleted, committed")
    all_axes[0, 0].yaxis.set_major_formatter("{x:,.0f}")
    all_axes[1, 0].set_ylabel("p99 of others per 0.1 s, ms")
    all_axes[0, 0].legend(frameon=False, loc="upper left")
    save(figure, file, picture["caption"])
