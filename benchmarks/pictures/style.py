"""How all pictures look: on a white panel, so that they can be read on light and on dark pages."""

from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

OWN: Final = "#0969da"
OTHER: Final = "#8c959f"
_INK: Final = "#1f2328"


def prepare() -> None:
    """Set what holds for all pictures."""
    mpl.use("svg")
    mpl.rcParams.update(
        {
            "svg.fonttype": "none",  # text stays text
            "svg.hashsalt": "kiqstart",
            "font.family": "sans-serif",
            "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans"],
            "font.size": 9,
            "text.color": _INK,
            "axes.labelcolor": _INK,
            "axes.titlepad": 9,
            "axes.edgecolor": "#d0d7de",
            "xtick.color": _INK,
            "ytick.color": _INK,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
        }
    )


def plain(axes: Axes) -> None:
    """Leave away what says nothing."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(which="both", length=0)


def save(figure: Figure, file: Path, caption: str) -> None:
    """Write a picture with its caption below."""
    figure.supxlabel(caption, fontsize=7, color="#59636e")
    figure.savefig(file, format="svg", metadata={"Date": None})
