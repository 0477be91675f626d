"""What became of tasks of late, in a table and as JSON."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rich.table import Table
from rich.text import Text

from kiqstart.cli.tables import new_table
from kiqstart.cli.terminal import shown
from kiqstart.operations.rates import TaskRate
from kiqstart.operations.schedule_wording import shown_seconds


def rates_table(tasks: Sequence[TaskRate]) -> Table:
    """A row for each task: how often it ran and failed, how long its runs took and its messages waited."""
    table = new_table()
    # Nothing is cut: a name that has no room goes on in the next line.
    table.add_column("task", overflow="fold")
    for title in ("runs/s", "failed", "run: mean, p95", "wait: mean, p95"):
        table.add_column(title, overflow="fold", justify="right")
    for one in tasks:
        times = (_times(one.mean, one.p95), _times(one.wait_mean, one.wait_p95))
        table.add_row(*map(Text, (shown(one.task) or "(unknown)", shown_rate(one.rate), str(one.failed), *times)))
    return table


def rate_as_json(one: TaskRate) -> Mapping[str, object]:
    """A task's figures as `--json` has them; what took longer than the last bound is null."""
    return {**asdict(one), "p95": _finite(one.p95), "wait_p95": _finite(one.wait_p95)}


def shown_rate(rate: float | None) -> str:
    """So many a second."""
    return "-" if rate is None else f"{rate:,.1f}"


def _times(mean: float | None, p95: float | None) -> str:
    if mean is None or p95 is None:
        return "-"
    return f"{shown_seconds(mean)}, " + ("over 1 h" if math.isinf(p95) else f"≤ {shown_seconds(p95)}")


def _finite(seconds: float | None) -> float | None:
    return None if seconds is None or math.isinf(seconds) else seconds
