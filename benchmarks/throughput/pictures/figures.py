"""What is drawn, as JSON on the program's standard input."""

from typing import TypedDict


class Bar(TypedDict):
    """A contestant: what was measured, how it is written, and whether it is the service's own or a limit."""

    label: str
    value: float
    text: str
    is_own: bool


class Panel(TypedDict):
    """The contestants in one measure; `note` says which end is the better one."""

    title: str
    note: str
    is_logarithmic: bool
    bars: list[Bar]


class Picture(TypedDict):
    """A panel for each measure."""

    caption: str
    panels: list[Panel]
