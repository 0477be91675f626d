"""Charts as the templates draw them: bars side by side, each with what it says in words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 600
HEIGHT: Final = 100
# What is least is still to be seen.
_LEAST: Final = 2


@dataclass(frozen=True, kw_only=True)
class Column:
    """What a bar is made of.

    Args:
        name: when that was.
        text: what it stands for, in words.
        parts: kinds, by which they are coloured, and values, from its foot on.
    """

    name: str
    text: str
    parts: Sequence[tuple[str, float]]

    @property
    def value(self) -> float:
        """Of all parts."""
        return sum(value for _, value in self.parts)


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A rectangle of a bar.

    Args:
        kind: by which it is coloured.
    """

    kind: str
    y: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A column that is not empty.

    Args:
        text: what it stands for, in words.
    """

    x: int
    width: int
    text: str
    pieces: Sequence[Piece]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Bars from the oldest to the newest.

    Args:
        summary: what the chart says, for those who do not see it.
        top: what the highest bar stands for.
    """

    title: str
    summary: str
    top: str
    first: str
    last: str
    bars: Sequence[Bar]


def chart(title: str, columns: Sequence[Column], *, said: str, shown_top: Callable[[float], str]) -> Chart:
    """Draw columns, one at least, the oldest first; times are in UTC.

    Args:
        title: what it is about.
        columns: what is drawn.
        said: what it says, but for its peak.
        shown_top: the value of the highest column in words.
    """
    top = max(one.value for one in columns)
    step = WIDTH // len(columns)
    bars = [
        Bar(x=step * place + 1, width=step - 2, text=f"{one.name}: {one.text}", pieces=_pieces(one.parts, top))
        for place, one in enumerate(columns)
        if one.value
    ]
    highest = next(one.name for one in columns if one.value == top)
    return Chart(
        title=title,
        summary=f"{said}, at most {shown_top(top)}, at {highest}" if top else said,
        top=shown_top(top) if top else "",
        first=columns[0].name,
        last=f"{columns[-1].name} UTC",
        bars=bars,
    )


def _pieces(parts: Sequence[tuple[str, float]], top: float) -> list[Piece]:
    pieces: list[Piece] = []
    foot = float(HEIGHT)
    for kind, value in parts:
        if value:
            height = max(HEIGHT * value / top, _LEAST)
            pieces.append(Piece(kind=kind, y=max(round(foot - height), 0), height=round(height)))
            foot -= height
    return pieces
