"""What kiqstart is to reach."""

from collections.abc import Sequence
from typing import Final

from benchmarks.tables.figure_table import Target
from benchmarks.tables.wording import at_least, at_most
from benchmarks.throughput.contestants import KIQSTART, TASKIQ
from benchmarks.throughput.results import HIGHER_IS_BETTER, Measure
from benchmarks.throughput.tables.figures import Figures
from benchmarks.throughput.tables.wording import written

_LEAST_RATIO: Final = {Measure.ONE_BY_ONE: 1.5, Measure.IN_FLIGHT: 7, Measure.RUN_1: 7, Measure.RUN_2: 6}
_LEAST_RATIO_OF_BULK: Final = 15
_MOST_RATIO: Final = {Measure.CPU: 0.2, Measure.RSS: 0.65}
_MOST: Final = {Measure.P50: 1.0, Measure.P99: 4.0, Measure.START: 0.5, Measure.IDLE_CPU: 1.0}


def targets(figures: Figures, measures: Sequence[Measure]) -> list[Target]:
    """Compare kiqstart with plain taskiq, and with fixed limits."""
    return [target for measure in measures for target in _targets(figures, measure)]


def ahead_of_peers(figures: Figures, peers: Sequence[str], measures: Sequence[Measure]) -> list[Target]:
    """Compare kiqstart with the best of all peers, where it and any of them have a figure."""
    return [target for measure in measures if (target := _ahead(figures, peers, measure))]


def _targets(figures: Figures, measure: Measure) -> list[Target]:
    beside = figures.ratio(KIQSTART.name, TASKIQ.name, measure)
    found: list[Target] = []
    if measure in _LEAST_RATIO:
        found.append(at_least(f"{measure}: of {TASKIQ.name}'s", beside, _LEAST_RATIO[measure]))
    if measure is Measure.BULK:
        aim = f"{measure}: of what {TASKIQ.name} sends one by one"
        found.append(at_least(aim, _bulk_ratio(figures), _LEAST_RATIO_OF_BULK))
    if measure in _MOST_RATIO:
        found.append(at_most(f"{measure}: of {TASKIQ.name}'s", beside, _MOST_RATIO[measure]))
    if measure in _MOST:
        found.append(at_most(str(measure), figures.median(KIQSTART.name, measure), _MOST[measure]))
    return found


def _bulk_ratio(figures: Figures) -> float | None:
    own, others = figures.median(KIQSTART.name, Measure.BULK), figures.median(TASKIQ.name, Measure.ONE_BY_ONE)
    return own / others if own is not None and others else None


def _ahead(figures: Figures, peers: Sequence[str], measure: Measure) -> Target | None:
    own = figures.median(KIQSTART.name, measure)
    others = {peer: value for peer in peers if (value := figures.median(peer, measure)) is not None}
    if own is None or not others:
        return None
    is_higher_better = measure in HIGHER_IS_BETTER
    best = (max if is_higher_better else min)(others, key=lambda peer: others[peer])
    return Target(
        aim=f"{measure}: ahead of every peer",
        measured=f"{written(own)}, the best of them {best} with {written(others[best])}",
        met=own >= others[best] if is_higher_better else own <= others[best],
    )
