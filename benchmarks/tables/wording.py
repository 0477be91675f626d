"""How figures are written."""

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import TypeVar

from benchmarks.tables.figure_table import Target

T = TypeVar("T")


def spread(values: Sequence[float], write: Callable[[float], str]) -> str:
    """The median, with the least and the most where there are several."""
    if len(values) == 1:
        return write(values[0])
    return f"{write(median(values))} ({write(min(values))} to {write(max(values))})"


def per_second(value: float) -> str:
    """Rows in a second, three digits of which say something."""
    return f"{float(f'{value:.3g}'):,.0f}"


def milliseconds(seconds: float) -> str:
    """Seconds in milliseconds."""
    return f"{seconds * 1000:.1f}"


def mebibytes(count: float) -> str:
    """Bytes in MiB."""
    return f"{count / 2**20:.1f}"


def ratio(value: float) -> str:
    """A ratio, with three digits up to ten and none beyond."""
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"  # noqa: PLR2004 - ten


def at_least(aim: str, value: float | None, limit: float) -> Target:
    """Aim at a ratio of `limit` or more."""
    return Target(
        aim=f"{aim} ≥ {limit:.3g}",
        measured="no figure" if value is None else ratio(value),
        met=None if value is None else value >= limit,
    )


def at_most(aim: str, value: float | None, limit: float, *, unit: str = "") -> Target:
    """Aim at a value of `limit` or less."""
    return Target(
        aim=f"{aim} ≤ {limit:.3g}{unit}",
        measured="no figure" if value is None else f"{ratio(value)}{unit}",
        met=None if value is None else value <= limit,
    )


def grouped(items: Iterable[T], key: Callable[[T], object]) -> list[list[T]]:
    """Put items of the same key together, in the order in which the keys come."""
    groups: dict[object, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())
