"""Charts of the last hour, by minute: how runs ended, how long messages waited, what failed."""

from collections.abc import Callable, Sequence
from typing import Final

from kiqstart.broker.minute_stats import MinuteStats
from kiqstart.broker.run_stats import PROBLEMS, Outcome
from kiqstart.dashboard.charts import Chart, Column, chart
from kiqstart.operations.schedule_wording import shown_seconds

_MOST_TASKS: Final = 5
# Problems stand at the foot of a bar, where they can be compared.
_ORDER: Final = (Outcome.FAILED, Outcome.DEAD, Outcome.RETRIED, Outcome.CANCELLED, Outcome.SUCCEEDED)


def charts(minutes: Sequence[MinuteStats]) -> list[Chart]:
    """What ended and how, how long messages waited, and the tasks that failed most."""
    return [_ended(minutes), _waits(minutes), *_problems(minutes)]


def _ended(minutes: Sequence[MinuteStats]) -> Chart:
    total = {outcome: sum(one.ended.get(outcome, 0) for one in minutes) for outcome in Outcome}
    said = _listed([(count, outcome) for outcome, count in total.items()]) or "none"
    return _chart(
        "Runs that ended, by minute",
        minutes,
        lambda one: [(outcome.value, one.ended.get(outcome, 0)) for outcome in _ORDER],
        said_of=lambda one: _listed([(one.ended.get(outcome, 0), outcome) for outcome in Outcome]),
        said=f"{said} in the last hour",
        shown_top=lambda top: f"{top:g} a minute",
    )


def _waits(minutes: Sequence[MinuteStats]) -> Chart:
    started, waited = sum(one.started for one in minutes), sum(one.waited for one in minutes)
    mean = f"{shown_seconds(waited / started)} on average over the last hour" if started else "none in the last hour"
    return _chart(
        "Wait in the queue before a run, mean by minute",
        minutes,
        lambda one: [("wait", one.mean_wait)],
        said_of=lambda one: shown_seconds(one.mean_wait),
        said=mean,
        shown_top=shown_seconds,
    )


def _problems(minutes: Sequence[MinuteStats]) -> list[Chart]:
    totals: dict[str, int] = {}
    for one in minutes:
        for task, count in one.problems.items():
            totals[task] = totals.get(task, 0) + count
    worst = sorted(totals, key=lambda task: (-totals[task], task))[:_MOST_TASKS]
    return [_problems_of(task, totals[task], minutes) for task in worst]


def _problems_of(task: str, total: int, minutes: Sequence[MinuteStats]) -> Chart:
    return _chart(
        f"Failures of {task or '(no task)'}, by minute",
        minutes,
        lambda one: [(Outcome.FAILED.value, one.problems.get(task, 0))],
        said_of=lambda one: f"{one.problems.get(task, 0)} {', '.join(PROBLEMS[:-1])} or {PROBLEMS[-1]}",
        said=f"{total} in the last hour",
        shown_top=lambda top: f"{top:g} a minute",
    )


def _chart(
    title: str,
    minutes: Sequence[MinuteStats],
    parts_of: Callable[[MinuteStats], Sequence[tuple[str, float]]],
    *,
    said_of: Callable[[MinuteStats], str],
    said: str,
    shown_top: Callable[[float], str],
) -> Chart:
    columns = [Column(name=f"{one.began:%H:%M}", text=said_of(one), parts=parts_of(one)) for one in minutes]
    return chart(title, columns, said=said, shown_top=shown_top)


def _listed(counts: Sequence[tuple[int, str]]) -> str:
    return ", ".join(f"{count} {what}" for count, what in counts if count)
