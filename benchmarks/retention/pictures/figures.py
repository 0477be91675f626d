"""What is drawn, as JSON on the program's standard input."""

from typing import TypedDict


class Bar(TypedDict):
    """A way to delete: its rows per second, and whether it is the service's own."""

    label: str
    rows_per_second: float
    is_own: bool


class SpeedPanel(TypedDict):
    """The ways for a table, the service's and the limit among them."""

    title: str
    bars: list[Bar]


class Line(TypedDict):
    """A deletion over time: rows deleted so far, and the foreground's 99th percentile, as (seconds, value)."""

    label: str
    is_own: bool
    deleted: list[tuple[float, float]]
    latency_ms: list[tuple[float, float]]


class ForegroundPanel(TypedDict):
    """Deletions of the same rows."""

    title: str
    lines: list[Line]


class SpeedPicture(TypedDict):
    """A panel for each table."""

    caption: str
    panels: list[SpeedPanel]


class ForegroundPicture(TypedDict):
    """A panel for each table."""

    caption: str
    panels: list[ForegroundPanel]


class Figures(TypedDict):
    """All pictures; None where that part was not measured."""

    speed: SpeedPicture | None
    foreground: ForegroundPicture | None
