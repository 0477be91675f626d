"""What a way through a table is. It goes forward only, so that no batch steps over the rows that others deleted."""

from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import ColumnElement
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.core.retention.policy import WalkKind

# A place between two rows, in PostgreSQL's own text form, which every type has and which JSON can hold.
Position = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of the table: what comes after `after` (None: from the beginning), up to and with `upto`."""

    after: Position | None
    upto: Position

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left of it."""
        return self.after == self.upto

    def beginning_after(self, position: Position) -> "Interval":
        """Return what is left of it past a position."""
        return Interval(position, self.upto)


class Walk(Protocol):
    """A way through a table."""

    @property
    def kind(self) -> WalkKind:
        """Which way it is."""
        ...

    @property
    def basis(self) -> str:
        """What its positions refer to: those of another basis mean nothing."""
        ...

    async def whole(self, connection: AsyncConnection) -> Interval | None:
        """Return the table as it is now, or None if there is nothing to do. Rows that come later are the next run's."""
        ...

    async def split(self, connection: AsyncConnection, interval: Interval, pieces: int) -> list[Interval]:
        """Cut an interval into at most so many parts of about the same number of rows."""
        ...

    async def check_basis(self, connection: AsyncConnection) -> None:
        """Return if positions still mean what they did; asked in a batch's transaction, whose locks keep it so.

        Raises:
            TableRewrittenError: they do not.
        """
        ...

    async def advance(self, connection: AsyncConnection, interval: Interval, rows: int) -> Position:
        """Return where a batch of about so many rows from the interval's beginning ends; at 1, of a single row."""
        ...

    def where(self, interval: Interval) -> ColumnElement[bool]:
        """Return the condition that a row lies in the interval."""
        ...

    def fraction(self, interval: Interval) -> float | None:
        """Return the part of the table that lies before the interval (0 to 1), or None where only rows tell."""
        ...
