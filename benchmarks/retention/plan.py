"""What all parts of the benchmark work with."""

from dataclasses import dataclass

from benchmarks.progress import Progress
from benchmarks.retention.dataset import Datasets
from benchmarks.retention.results import Environment
from benchmarks.retention.worker import Workers


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`rows` are deleted in each run, which is made `repeat` times.

    `large` asks for ten times the rows too, where memory is measured. What took longer than `once_above` seconds is not
    repeated; what takes longer than `most_seconds` is stopped, and counted with what it did.
    """

    rows: int
    repeat: int
    large: bool
    once_above: float
    most_seconds: float
    environment: Environment
    datasets: Datasets
    workers: Workers
    progress: Progress
