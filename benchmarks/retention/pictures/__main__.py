"""Reads figures from standard input, and writes the pictures into the folder that is named."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.pictures.style import prepare
from benchmarks.retention.pictures.foreground import draw_foreground
from benchmarks.retention.pictures.speed import draw_speed

if TYPE_CHECKING:
    from benchmarks.retention.pictures.figures import Figures


def main() -> None:
    """Draw what was measured."""
    figures: Figures = json.load(sys.stdin)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    prepare()
    if figures["speed"]:
        draw_speed(figures["speed"], folder / "retention-speed.svg")
    if figures["foreground"]:
        draw_foreground(figures["foreground"], folder / "retention-foreground.svg")


main()
