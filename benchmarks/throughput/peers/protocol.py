"""What the benchmark and the programs of its peers say to each other: a line of JSON each way, for each step.

A program runs in its peer's own environment, so this and its neighbours need nothing but the standard library.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

TALLY: Final = "BENCHMARK_TALLY"
"""The environment variable that names the folder of a run's tally."""

CONTESTANT: Final = "BENCHMARK_CONTESTANT"
"""The environment variable that says which contestant a program or a worker is."""

REDIS_URL: Final = "REDIS_URL"
"""The environment variable with the URL of the database in Redis that a contestant has to itself."""

QUEUE: Final = "bench"
RESULT_SECONDS: Final = 3600
WAIT_SECONDS: Final = 2
"""How long a caller waits for a result before it gives up."""

AT_ONCE: Final = 100
"""How many sends are under way at once where they are not one by one."""


class Way(StrEnum):
    """How tasks are sent."""

    ONE_BY_ONE = "one by one"
    IN_FLIGHT = "100 in flight"
    BULK = "bulk"


@dataclass(frozen=True, kw_only=True)
class About:
    """A contestant, as its program describes it.

    Args:
        packages: what to print the versions of.
        settings: one sentence on how it is set up.
        acknowledged: when a worker takes a task off the queue.
        ways: how it can send.
        worker: arguments of Python that start a worker; `{processes}` stands for the number of its processes.
        unfinished: an expression in Redis' Lua: how many of ARGV[1] tasks, all of which have been taken, have not ended
            with their results stored and the messages acknowledged.
        results: a pattern of the keys of results.
        polls: whether a caller who waits for a result polls for it.
    """

    packages: tuple[str, ...]
    settings: str
    acknowledged: str
    ways: tuple[Way, ...]
    worker: tuple[str, ...]
    unfinished: str
    results: str
    polls: bool = False


@dataclass(frozen=True, kw_only=True)
class Description:
    """`About` as the program tells it, with the installed versions of its packages."""

    settings: str
    acknowledged: str
    ways: tuple[Way, ...]
    worker: tuple[str, ...]
    unfinished: str
    results: str
    polls: bool
    versions: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Request:
    """A step to take, and what it needs.

    Args:
        step: `describe`, `prepare`, `send`, `run` or `round_trips`.
        way: how to send.
        count: how many tasks to send or run, or round trips to make.
        seconds: after which no further round trip is begun.
        interval: seconds between a poller's looks, instead of its default.
        task: what to send from now on, where a contestant has other tasks than one that does nothing.
        size: characters of its argument.
    """

    step: str
    way: Way = Way.ONE_BY_ONE
    count: int = 0
    seconds: float = 0.0
    interval: float | None = None
    task: str = "nothing"
    size: int = 0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of a step.

    `seconds` is how long it took, `cpu` how much of that the processor worked, `trips` the seconds of each round trip,
    `missed` what callers got instead of a result; `error` says why there is nothing.
    """

    description: Description | None = None
    seconds: float = 0.0
    cpu: float = 0.0
    trips: tuple[float, ...] = ()
    missed: tuple[str, ...] = ()
    error: str | None = None
