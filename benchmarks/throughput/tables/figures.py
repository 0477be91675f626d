"""Figures of one kind, gathered from a part's repetitions."""

from collections.abc import Iterable, Sequence
from statistics import median

from benchmarks.throughput.results import Figure, Measure


class Figures:
    """All that was measured, by contestant and measure."""

    def __init__(self, figures: Iterable[Figure]) -> None:
        self._values: dict[tuple[str, Measure], list[float]] = {}
        self._problems: dict[tuple[str, Measure], list[str]] = {}
        for one in figures:
            key = one.contestant, one.measure
            if one.value is not None:
                self._values.setdefault(key, []).append(one.value)
            if one.problem is not None:
                self._problems.setdefault(key, []).append(one.problem)

    def values(self, contestant: str, measure: Measure) -> Sequence[float]:
        """The values of all repetitions, those that failed left out."""
        return self._values.get((contestant, measure), [])

    def median(self, contestant: str, measure: Measure) -> float | None:
        """The median; None where there is no value."""
        values = self.values(contestant, measure)
        return median(values) if values else None

    def has(self, contestant: str, measures: Sequence[Measure]) -> bool:
        """Whether one of these was measured, or tried."""
        return any(self.values(contestant, one) or self.problems(contestant, one) for one in measures)

    def problems(self, contestant: str, measure: Measure) -> Sequence[str]:
        """What went wrong, a sentence for each repetition in which something did."""
        return self._problems.get((contestant, measure), [])

    def ratio(self, contestant: str, to: str, measure: Measure) -> float | None:
        """A contestant's median to that of another."""
        one, other = self.median(contestant, measure), self.median(to, measure)
        return one / other if one is not None and other else None
