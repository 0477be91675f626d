"""Makes metrics of the names and types that Prometheus knows."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from kiqstart.broker.histogram import SECONDS_BUCKETS, Histogram
from kiqstart.observability.terminal_escape import escape

Values = Iterable[tuple[Mapping[str, str], float]]
"""Labels, and the value that they have."""


class Families:
    """Makes metrics, each with the service's label, which tells services apart that share a collector.

    Args:
        service: the prefix of the service's keys.
    """

    def __init__(self, service: str) -> None:
        self._service = service

    def gauge(self, name: str, description: str, labels: Sequence[str], values: Values) -> Metric:
        """What goes up and down."""
        family = GaugeMetricFamily(name, description, labels=["service", *labels])
        for found, value in values:
            family.add_metric(self._labels(labels, found), value)
        return family

    def counter(self, name: str, description: str, labels: Sequence[str], values: Values) -> Metric:
        """What only goes up."""
        family = CounterMetricFamily(name, description, labels=["service", *labels])
        for found, value in values:
            family.add_metric(self._labels(labels, found), value)
        return family

    def histogram(
        self, name: str, description: str, labels: Sequence[str], values: Iterable[tuple[Mapping[str, str], Histogram]]
    ) -> Metric:
        """How many took up to how long."""
        family = HistogramMetricFamily(name, description, labels=["service", *labels])
        bounds = ["+Inf" if math.isinf(bound) else str(bound) for bound in SECONDS_BUCKETS]
        for found, value in values:
            buckets = list(zip(bounds, map(float, accumulate(value.counts)), strict=True))
            family.add_metric(self._labels(labels, found), buckets, value.seconds)
        return family

    def _labels(self, names: Sequence[str], found: Mapping[str, str]) -> list[str]:
        # Names of tasks and queues are what anybody has written into Redis.
        return [_harmless(one) for one in (self._service, *(found[name] for name in names))]


def _harmless(text: str) -> str:
    return "\n".join(map(escape, text.split("\n")))
