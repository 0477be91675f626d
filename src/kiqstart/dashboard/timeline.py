"""The tries of a task as a timeline: when each waited, and when it ran."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from kiqstart.broker.run_decoding import Run
from kiqstart.operations.schedule_wording import shown_seconds

WIDTH: Final = 1000
ROW: Final = 16
_MOST_TRIES: Final = 30
# A run of a millisecond in a day is still to be seen.
_LEAST: Final = 4


@dataclass(frozen=True, kw_only=True)
class Span:
    """A time of a try, in units of the picture's width.

    Args:
        kind: "wait", or how the run ended.
    """

    kind: str
    x: int
    y: int
    width: int


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """The newest tries, the oldest first, each in a row of its own.

    Args:
        lines: each try in words.
        height: of all rows.
    """

    first: datetime
    last: datetime
    spans: Sequence[Span]
    lines: Sequence[str]
    height: int


def timeline_of(runs: Sequence[Run]) -> Timeline | None:
    """The timeline of a task's runs, which are given newest first; None where there is none."""
    tries = sorted(runs[:_MOST_TRIES], key=lambda one: one.ended)
    if not tries:
        return None
    first, last = min(tries[0].sent, tries[0].began or tries[0].ended), tries[-1].ended
    spans: list[Span] = []
    lines: list[str] = []
    scale = WIDTH / max((last - first).total_seconds(), 0.001)
    free = first
    for row, one in enumerate(tries):
        began = one.began or one.ended
        # What was sent again by hand has not waited since its last run.
        free = max(free, one.sent) if one.attempt == 1 else free
        for kind, start, end in (("wait", free, began), (one.outcome.value, began, one.ended)):
            width = max(round((end - start).total_seconds() * scale), _LEAST if kind != "wait" else 0)
            x = min(max(round((start - first).total_seconds() * scale), 0), WIDTH - width)
            if width > 0:
                spans.append(Span(kind=kind, x=x, y=row * ROW, width=width))
        waited = shown_seconds(max((began - free).total_seconds(), 0.0))
        lines.append(f"Try {one.attempt} waited {waited}, ran {shown_seconds(one.seconds)}: {one.outcome.value}")
        free = one.ended
    return Timeline(first=first, last=last, spans=spans, lines=lines, height=ROW * len(tries))
