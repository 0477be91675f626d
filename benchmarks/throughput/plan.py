"""What all parts of the benchmark work with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from benchmarks.progress import Progress
from benchmarks.throughput.contestants import Installed
from benchmarks.throughput.peers.protocol import CONTESTANT, REDIS_URL, Description
from benchmarks.throughput.results import Contestant, Environment


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A contestant that is there, and what its program says of itself."""

    installed: Installed
    description: Description

    @property
    def name(self) -> str:
        """What it is called."""
        return self.installed.name

    @property
    def record(self) -> Contestant:
        """Itself, as it is kept with the results."""
        one = self.description
        return Contestant(name=self.name, settings=one.settings, acknowledged=one.acknowledged, versions=one.versions)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Each measurement is made `repeat` times, contestants taking turns.

    `tasks` are sent and run, `round_trips` made one after the other, and an idle worker is watched for `idle_seconds`.
    What takes longer than `most_seconds` is stopped. `redis` is an empty database, which `redis_url` names.
    """

    tasks: int
    round_trips: int
    idle_seconds: float
    repeat: int
    most_seconds: float
    is_short: bool
    entrants: Sequence[Entrant]
    environment: Environment
    redis: Redis
    redis_url: str
    database_url: str | None
    log_folder: Path
    progress: Progress

    @property
    def tried(self) -> Sequence[Entrant]:
        """Who shows that a measurement works: in the short form the first, which is kiqstart; else each is measured."""
        return self.entrants[:1] if self.is_short else self.entrants

    def variables(self, contestant: Installed) -> Mapping[str, str]:
        """The environment variables of a contestant's programs."""
        return {
            REDIS_URL: self.redis_url,
            CONTESTANT: contestant.name,
            **({"BENCHMARK_DATABASE_URL": self.database_url} if self.database_url else {}),
        }

    def records(self, entrants: Sequence[Entrant]) -> list[Contestant]:
        """Contestants, as they are kept with the results."""
        return [one.record for one in entrants]
