"""A history before it has happened."""

# a plan's arguments are JSON

from dataclasses import dataclass, field
from typing import Any

Arguments = dict[str, Any]


@dataclass(kw_only=True)
class FireTime:
    """Something that happens to the world at a time.

    Args:
        at: seconds since it began.
        do: one of `DOINGS`.
    """

    at: float
    do: str
    args: Arguments = field(default_factory=dict[str, Any])


@dataclass(kw_only=True)
class Plan:
    """All that happens in a history, before it has happened.

    Args:
        seed: of all that happens by chance on the way.
        workers: their slots, each with its rule for suspects, its capacity and its seconds of grace.
        producers: how many.
        seconds: from when on all is well.
    """

    seed: int
    workers: dict[str, dict[str, Any]]
    producers: int
    seconds: float
    steps: list[FireTime]
