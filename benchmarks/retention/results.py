"""What was measured, as it is kept in results.json. Times are seconds unless a name says otherwise."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Table(StrEnum):
    """A table that is cleaned up."""

    SESSIONS = "refresh_sessions"
    TODOS = "todos"


class Layout(StrEnum):
    """How the rows to delete lie in the heap: in one piece, or at random between those to keep."""

    ORDERED = "ordered"
    SHUFFLED = "shuffled"


class Contestant(StrEnum):
    """A way to delete."""

    UNBOUNDED = "one unbounded DELETE"
    KIQSTART = "kiqstart, full pace"
    GENTLE = "kiqstart, gentle"
    SKIP_LOCKED = "id IN (… LIMIT 5000 FOR UPDATE SKIP LOCKED)"
    CTID = "ctid = ANY (ARRAY(… LIMIT 5000))"
    PER_USER = "one DELETE per user"
    DJANGO = "the Django tutorial"


class Traffic(StrEnum):
    """What goes on beside the foreground."""

    IDLE = "idle"
    UNBOUNDED = "one unbounded DELETE"
    FULL = "kiqstart, full pace"
    GENTLE = "kiqstart, gentle"


class Way(StrEnum):
    """How rows are written."""

    SINGLE = "one by one"
    BATCHES = "1,000 at a time"


class Shape(StrEnum):
    """How rows that are equal in the cursor lie in a table, and whether PostgreSQL knows of them."""

    ONE = "one value, never analysed"
    ONE_KNOWN = "one value, analysed"
    FOUR = "4 values, analysed"
    FOUR_SCATTERED = "4 values, in turns"
    MANY = "30 values, never analysed"
    PARTITIONED = "one value, a partition of three, never analysed"

    @property
    def values(self) -> int:
        """How many values there are."""
        return {"o": 1, "4": 4, "3": 30}[self[0]]

    @property
    def is_analysed(self) -> bool:
        """Whether there are statistics."""
        return "never" not in self

    @property
    def is_scattered(self) -> bool:
        """Whether each value is everywhere."""
        return self is Shape.FOUR_SCATTERED

    @property
    def is_partitioned(self) -> bool:
        """Whether the table is partitioned."""
        return self is Shape.PARTITIONED


class Record(BaseModel):
    """A part of the results."""

    model_config = ConfigDict(frozen=True)


class Environment(Record):
    """What was measured, and on what."""

    database: str
    redis: str
    python: str
    cores: int
    settings: dict[str, str]


class EngineReport(Record):
    """What the engine itself says about a run."""

    scan: str
    deleted: int
    batches: int
    seconds: float
    longest_batch: float


class SpeedRun(Record):
    """One deletion. `finished` is false where it was stopped at the limit of time, with `deleted` rows done."""

    table: Table
    layout: Layout
    beside_old_transaction: bool
    contestant: Contestant
    deleted: int
    seconds: float
    wal_bytes: int
    finished: bool
    versions: str | None = None
    report: EngineReport | None = None

    @property
    def rows_per_second(self) -> float:
        """Rows that were deleted in a second."""
        return self.deleted / self.seconds


class EqualRun(Record):
    """One deletion of rows that are equal in the cursor."""

    shape: Shape
    contestant: Contestant
    deleted: int
    seconds: float
    longest_batch: float | None = None
    batches: int | None = None

    @property
    def rows_per_second(self) -> float:
        """Rows that were deleted in a second."""
        return self.deleted / self.seconds


class Tenth(Record):
    """The batches of a tenth of the rows: medians of the seconds that a row and a batch took."""

    batches: int
    seconds_per_row: float
    seconds_per_batch: float


class FlatnessRun(Record):
    """The first tenth of a run against its last, None where it had too few batches; `batches` is the number of all."""

    table: Table
    beside_old_transaction: bool
    batches: int
    first: Tenth | None
    last: Tenth | None
    report: EngineReport | None


class Point(Record):
    """A value at a time since the deletion began."""

    at: float
    value: float


class ForegroundRun(Record):
    """Latencies of the foreground while a deletion ran, in seconds.

    `deleted` is the number of rows deleted until each time, `latency` the 99th percentile of each tenth of a second,
    which also shows the second before.
    """

    table: Table
    traffic: Traffic
    seconds: float
    samples: int
    p50: float
    p99: float
    longest: float
    deleted: list[Point]
    latency: list[Point]


class MemoryRun(Record):
    """Resident memory of the worker's process, in bytes: before the task, and the most while it ran."""

    table: Table
    rows: int
    idle: int
    peak: int


class IndexRun(Record):
    """What writing rows costs beside some index; `heap_only` counts the updates that touched no index."""

    table: Table
    variant: str
    way: Way
    rows: int
    seconds: float
    wal_bytes: int
    heap_only: int | None = None


class Part(Record):
    """What holds for all runs of a part of the results."""

    environment: Environment
    rows: int
    repeat: int


class SpeedPart(Part):
    """Rows per second, and bytes of the write-ahead log."""

    runs: list[SpeedRun]


class EqualPart(Part):
    """Rows per second where rows are equal in the cursor."""

    runs: list[EqualRun]


class FlatnessPart(Part):
    """Whether the last batches are as quick as the first."""

    runs: list[FlatnessRun]


class ForegroundPart(Part):
    """What other traffic notices; `busy` processes computed all the time beside it."""

    runs: list[ForegroundRun]
    busy: int = 0


class MemoryPart(Part):
    """What a worker needs."""

    runs: list[MemoryRun]


class IndexPart(Part):
    """What indexes cost writers."""

    runs: list[IndexRun]


class Results(BaseModel):
    """All parts that were measured so far."""

    speed: SpeedPart | None = None
    equal: EqualPart | None = None
    flatness: FlatnessPart | None = None
    foreground: ForegroundPart | None = None
    busy: ForegroundPart | None = None
    memory: MemoryPart | None = None
    indexes: IndexPart | None = None
