"""What was measured, as it is kept in results.json."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Measure(StrEnum):
    """What a figure says, with its unit."""

    ONE_BY_ONE = "enqueue one by one, tasks/s"
    IN_FLIGHT = "enqueue 100 in flight, tasks/s"
    BULK = "enqueue in bulk, tasks/s"
    RUN_1 = "run with 1 worker process, tasks/s"
    RUN_2 = "run with 2 worker processes, tasks/s"
    CPU = "worker CPU a task, µs"
    P50 = "round trip p50, ms"
    P99 = "round trip p99, ms"
    P50_POLLING = "round trip p50 with a look each ms, ms"
    START = "worker start to first task, s"
    RSS = "idle RSS, MiB"
    PSS = "idle PSS, MiB"
    IDLE_CPU = "idle CPU, %"


HIGHER_IS_BETTER = frozenset(
    {Measure.ONE_BY_ONE, Measure.IN_FLIGHT, Measure.BULK, Measure.RUN_1, Measure.RUN_2},
)


class Axis(StrEnum):
    """What is varied where scale is measured."""

    WORKERS = "worker processes"
    WAITING = "tasks waiting"
    MEMORY = "Redis memory, bytes per waiting task"
    PAYLOAD = "bytes of payload"
    CONCURRENCY = "tasks at once (--max-async-tasks)"
    TASK = "task"


class Record(BaseModel):
    """A part of the results."""

    model_config = ConfigDict(frozen=True)


class Environment(Record):
    """What was measured on."""

    redis: str
    database: str
    python: str
    cores: int


class Contestant(Record):
    """Who was measured: how it is set up, and when its workers acknowledge."""

    name: str
    settings: str
    acknowledged: str
    versions: dict[str, str]


class Figure(Record):
    """One measurement, of `tasks` tasks; where `problem` says what went wrong, `value` is None or to be doubted."""

    contestant: str
    measure: Measure
    value: float | None
    tasks: int
    problem: str | None = None


class ScaleFigure(Record):
    """Tasks in a second, or bytes, at a point of an axis."""

    contestant: str
    axis: Axis
    point: str
    value: float | None
    tasks: int
    problem: str | None = None


class Part(Record):
    """What holds for all figures of a part."""

    environment: Environment
    contestants: list[Contestant]
    repeat: int


class FiguresPart(Part):
    """Figures of one part of the benchmark."""

    figures: list[Figure]


class ScalePart(Part):
    """Figures of the part that varies one thing at a time."""

    figures: list[ScaleFigure]


class Results(BaseModel):
    """All parts that were measured so far."""

    sending: FiguresPart | None = None
    running: FiguresPart | None = None
    waiting: FiguresPart | None = None
    limits: FiguresPart | None = None
    scale: ScalePart | None = None
