"""A part of a run as it is kept in the table `retention_runs`."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, cast

from sqlalchemy import ColumnElement, Label, Row, Select, Table, case, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.errors import UnreadableRunError
from kiqstart.retention.models import RetentionRun
from kiqstart.retention.policy import WalkKind
from kiqstart.retention.report import StopReason
from kiqstart.retention.state import PieceState

# The table itself, as a batch writes to it each time and needs nothing of what the mapper adds.
RUNS: Final = cast("Table[Any]", RetentionRun.__table__)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a run, or all of it. `age` is the seconds from the run's beginning to now or its end."""

    run_id: str
    number: int
    pieces: int
    walk: WalkKind
    reason: str
    basis: str
    resumed: bool
    total: int
    row_limit: int | None
    state: PieceState
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
    """Return the condition that a piece's owner has shown life in so many seconds."""
    # A clock that was set back leaves signs of life of a time that is yet to come.
    silence, now = literal(timedelta(seconds=seconds)), func.clock_timestamp()
    recent: ColumnElement[bool] = RUNS.c.heartbeat_at.between(now - silence, now + silence)
    return recent


def piece_columns(takeover_after: float) -> tuple[ColumnElement[Any], ...]:
    """Return what `piece_of` reads a piece from."""
    now_or_end = case((RUNS.c.stopped.is_(None), func.clock_timestamp()), else_=RUNS.c.heartbeat_at)
    age: Label[float] = func.greatest(0, func.extract("epoch", now_or_end - RUNS.c.started_at)).label("age")
    alive = RUNS.c.stopped.is_(None) & RUNS.c.owner.is_not(None) & is_recent(takeover_after)
    # Times stay in the server, which has some that Python does not.
    columns = (column for column in RUNS.c if column.name not in {"started_at", "heartbeat_at"})
    return (*columns, age, alive.label("is_alive"))


def piece_of(row: Row[*tuple[Any, ...]]) -> Piece:
    """Make a piece of its columns.

    Raises:
        UnreadableRunError: somebody else has written there.
    """
    try:
        return _piece_of(row)
    except (ValueError, TypeError, OverflowError) as error:
        raise UnreadableRunError(row.run_id, " ".join(str(error).split())) from None


def _piece_of(row: Row[*tuple[Any, ...]]) -> Piece:
    return Piece(
        run_id=row.run_id,
        number=row.piece,
        pieces=row.pieces,
        walk=WalkKind(row.walk),
        reason=row.reason,
        basis=row.basis,
        resumed=row.resumed,
        total=row.total,
        row_limit=row.row_limit,
        state=PieceState.from_json(row.state),
        age=float(row.age),
        stopped=StopReason(row.stopped) if row.stopped else None,
        taken_on=row.taken_on,
        is_alive=row.is_alive,
    )


async def read_pieces(connection: AsyncConnection, takeover_after: float, *where: ColumnElement[bool]) -> list[Piece]:
    """Return the pieces of which all conditions are true, in their order."""
    pieces: Select[*tuple[Any, ...]] = select(*piece_columns(takeover_after)).where(*where).order_by(RUNS.c.piece)
    return [piece_of(row) for row in await connection.execute(pieces)]
