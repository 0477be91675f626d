"""In which order a worker reads its queues."""

from collections.abc import Mapping


class WeightedOrder:
    """In which order queues are read: smooth weighted round robin, as nginx spreads requests.

    Of as many reads as the weights' sum, each queue is first in as many as its weight says, evenly spread; so none
    starves.
    """

    def __init__(self, weights: Mapping[str, int]) -> None:
        self._weights = dict(weights)
        self._current = dict.fromkeys(weights, 0)

    def next(self) -> list[str]:
        """The queues for one read, first the one whose turn it is."""
        for queue, weight in self._weights.items():
            self._current[queue] += weight
        order = sorted(self._current, key=lambda queue: -self._current[queue])
        self._current[order[0]] -= sum(self._weights.values())
        return order
