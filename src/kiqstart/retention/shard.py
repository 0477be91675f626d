"""A part of a run as it is kept in the table `retention_runs`."""

from dataclasses import dataclass
from datetime import timedelta
from math import isfinite
from typing import Any, Final, cast

from sqlalchemy import ColumnElement, Label, Row, Select, Table, Text, case, func, literal, select
from sqlalchemy import cast as sql_cast
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.errors import UnreadableRunError
from kiqstart.retention.models import RetentionRun
from kiqstart.retention.policy import ScanKind
from kiqstart.retention.report import StopReason
from kiqstart.retention.state import ShardState

# The table itself, as a batch writes to it each time and needs nothing of what the mapper adds.
RUNS: Final = cast("Table[Any]", RetentionRun.__table__)
# A row that a stranger wrote is refused by itself, and not by what reads all rows.
STATE_AS_TEXT: Final = sql_cast(RUNS.c.state, Text).label("state")


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of a run, or all of it. `age` is the seconds from the run's beginning to now or its end."""

    run_id: str
    number: int
    shards: int
    scan: ScanKind
    reason: str
    basis: str
    resumed: bool
    total: int
    row_limit: int | None
    state: ShardState
    age: float
    stopped: StopReason | None
    taken_on: bool
    is_alive: bool

    @property
    def is_done(self) -> bool:
        """Whether this run has nothing more to do with it."""
        return self.stopped is not None or self.taken_on

    @property
    def is_limited(self) -> bool:
        """Whether it came to a limit, or another run has the rest."""
        return self.taken_on or (self.stopped is not None and self.stopped is not StopReason.END)


def is_recent(seconds: float) -> ColumnElement[bool]:
    """Return the condition that a shard's owner has shown life in so many seconds."""
    # A clock that was set back leaves signs of life of a time that is yet to come.
    silence, now = literal(timedelta(seconds=seconds)), func.clock_timestamp()
    recent: ColumnElement[bool] = RUNS.c.heartbeat_at.between(now - silence, now + silence)
    return recent


def shard_columns(takeover_after: float) -> tuple[ColumnElement[Any], ...]:
    """Return what `shard_of` reads a shard from."""
    now_or_end = case((RUNS.c.stopped.is_(None), func.clock_timestamp()), else_=RUNS.c.heartbeat_at)
    # PostgreSQL has no interval between times that are infinite, or too far from each other.
    seconds = func.extract("epoch", now_or_end) - func.extract("epoch", RUNS.c.started_at)
    age: Label[float] = func.greatest(0, seconds).label("age")
    alive = RUNS.c.stopped.is_(None) & RUNS.c.owner.is_not(None) & is_recent(takeover_after)
    # Times stay in the server, which has some that Python does not.
    columns = (column for column in RUNS.c if column.name not in {"started_at", "heartbeat_at", "state"})
    return (*columns, STATE_AS_TEXT, age, alive.label("is_alive"))


def shard_of(row: Row[*tuple[Any, ...]]) -> Shard:
    """Make a shard of its columns.

    Raises:
        UnreadableRunError: somebody else has written there.
    """
    try:
        return _shard_of(row)
    except (ValueError, TypeError, OverflowError) as error:
        raise unreadable(row.run_id, error) from None


def unreadable(run_id: str, error: Exception) -> UnreadableRunError:
    """What somebody else has written cannot be read for this reason."""
    return UnreadableRunError(run_id, " ".join(str(error).split()))


def _shard_of(row: Row[*tuple[Any, ...]]) -> Shard:
    age = float(row.age)
    if not isfinite(age):
        raise ValueError("a time of it is infinite")
    return Shard(
        run_id=row.run_id,
        number=row.piece,
        shards=row.pieces,
        scan=ScanKind(row.walk),
        reason=row.reason,
        basis=row.basis,
        resumed=row.resumed,
        total=row.total,
        row_limit=row.row_limit,
        state=ShardState.from_json(row.state),
        age=age,
        stopped=StopReason(row.stopped) if row.stopped else None,
        taken_on=row.taken_on,
        is_alive=row.is_alive,
    )


async def read_shards(connection: AsyncConnection, takeover_after: float, *where: ColumnElement[bool]) -> list[Shard]:
    """Return the shards of which all conditions are true, in their order."""
    shards: Select[*tuple[Any, ...]] = select(*shard_columns(takeover_after)).where(*where).order_by(RUNS.c.piece)
    return [shard_of(row) for row in await connection.execute(shards)]
