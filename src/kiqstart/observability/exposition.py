"""Prometheus' text exposition format."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from kiqstart.observability.terminal_escape import escape


class MetricType(StrEnum):
    """What a value may do from one look to the next."""

    GAUGE = "gauge"
    """Go up and down."""
    COUNTER = "counter"
    """Only go up; the name ends with `_total`."""
    HISTOGRAM = "histogram"
    """How many values there were up to each bound; the samples' names have the endings `_bucket`, `_sum`, `_count`."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One value of a metric, in base units: seconds, bytes."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    ending: str = ""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric with its values, each with other labels.

    Args:
        description: one sentence for who reads the metrics.
    """

    name: str
    description: str
    type: MetricType = MetricType.GAUGE
    samples: Sequence[Sample]


def exposition(metrics: Iterable[Metric], *, labels: Mapping[str, str]) -> str:
    """All metrics as text, with these labels on each value."""
    lines: list[str] = []
    for metric in metrics:
        description = metric.description.replace("\\", r"\\").replace("\n", r"\n")
        lines += [f"# HELP {metric.name} {description}", f"# TYPE {metric.name} {metric.type.value}"]
        lines += [
            f"{metric.name}{one.ending}{{{_written_labels({**labels, **one.labels})}}} {_written(one.value)}"
            for one in metric.samples
        ]
    return "".join(f"{line}\n" for line in lines)


def _written_labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    value = "\n".join(map(escape, value.split("\n")))
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _written(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(value)
