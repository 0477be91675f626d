"""What is due, as a scheduler sees it."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DueMark:
    """That a schedule is due.

    Args:
        due_ms: since when, in milliseconds since the Unix epoch.
        score: the same as the store has it, which is text that anybody may have set; '': as `due_ms`.
    """

    name: str
    due_ms: int
    score: str = ""


@dataclass(frozen=True, kw_only=True)
class DueSchedule(DueMark):
    """A schedule that is due, with its definition as it was read."""

    data: bytes


@dataclass(frozen=True, kw_only=True)
class DuePage:
    """Some of what is due or will be within `SECONDS_AHEAD`, the earliest first.

    Args:
        is_last: whether nothing else is due.
    """

    marks: Sequence[DueMark]
    is_last: bool


@dataclass(frozen=True, kw_only=True)
class Poll:
    """What a scheduler sees when it polls.

    Args:
        now_ms: the store's time, in milliseconds since the Unix epoch.
        page: the first of what is due.
        next_due_ms: when something is due next; None: nothing is.
        schedulers: names of those that live, some of them where there are very many.
        table: the table in effect; None: the store does not know any.
        table_number: about when it was put into effect, in milliseconds, and higher than that of each table before.
        is_set_back: whether the store's clock was set back by more than a minute, and nobody has drawn the
            consequences yet.
    """

    now_ms: int
    page: DuePage
    next_due_ms: int | None
    schedulers: Sequence[str]
    table: str | None
    table_number: int = 0
    is_set_back: bool = False
