"""Puts new figures into the document that has them."""

from collections.abc import Sequence
from re import MULTILINE
from re import compile as compile_pattern
from typing import Final

from benchmarks.tables.section import Section

_FIGURES: Final = "\n## Figures\n"
_PART: Final = "\n### "
_HEADING: Final = compile_pattern("^#+ ", MULTILINE)
_ORDER: Final = ("Speed", "Equal values", "Flatness", "Foreground", "Foreground, on a busy host", "Memory", "Indexes")


def renewed(document: str, sections: Sequence[Section]) -> str:
    """Return a document with these parts below its heading "Figures"; parts that were not measured keep theirs."""
    text, _, figures = document.partition(_FIGURES)
    before, *kept = figures.split(_PART)
    parts = {part.partition("\n")[0]: part for part in kept}
    for one in sections:
        # A level further down than in a file of their own.
        parts[one.title] = _HEADING.sub(lambda found: "#" + found[0], one.markdown()).removeprefix("### ")
    ordered = [parts[title].rstrip("\n") + "\n" for title in _ORDER if title in parts]
    return "".join((text, _FIGURES, before.rstrip("\n"), "\n", *(_PART + part for part in ordered)))
