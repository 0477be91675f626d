"""What a way through a table is. It goes forward only, so that no batch steps over the rows that others deleted."""

from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import ColumnElement
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.policy import ScanKind
from kiqstart.retention.table import TableSize

# A place between two rows, in PostgreSQL's own text form, which every type has and which JSON can hold.
Position = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lines:
    """A stretch of the heap's lines, the last included, in the files that `storage` names; see `heap`."""

    first: int
    last: int
    storage: str


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of the table: what comes after `after` (None: from the beginning), up to and with `upto`.

    With `lines`, only what lies there in the heap: an index's stretch that is gone through in the order of the disk.
    """

    after: Position | None
    upto: Position
    lines: Lines | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left of it."""
        return self.after == self.upto

    def beginning_after(self, position: Position) -> "Interval":
        """Return what is left of it past a position."""
        return Interval(position, self.upto)

    def cut_at(self, position: Position, rows: int | None = None) -> "Cut":
        """Cut it in two at a position, behind which so many rows were looked at."""
        rest = self.beginning_after(position)
        return Cut(Interval(self.after, position), () if rest.is_empty else (rest,), rows)


@dataclass(frozen=True, slots=True)
class Cut:
    """A batch, and what is left of the interval that it begins.

    `rows` is how many it looks at, None if they are fewer than were asked for, or if the end is a guess: then `guessed`
    is how many they were meant to be.
    """

    batch: Interval
    rest: tuple[Interval, ...] = ()
    rows: int | None = None
    guessed: int | None = None


class Scan(Protocol):
    """A way through a table."""

    @property
    def kind(self) -> ScanKind:
        """Which way it is."""
        ...

    @property
    def size(self) -> TableSize:
        """The table's, when it was looked at."""
        ...

    @property
    def basis(self) -> str:
        """What its positions refer to: those of another basis mean nothing."""
        ...

    async def whole(self, connection: AsyncConnection) -> Interval | None:
        """Return the table as it is now, or None if there is nothing to do. Rows that come later are the next run's."""
        ...

    async def split(self, connection: AsyncConnection, interval: Interval, parts: int) -> list[Interval]:
        """Cut an interval into at most so many parts of about the same number of rows."""
        ...

    def storage(self, interval: Interval) -> str | None:
        """Return the files (`TableSize.storage`) in which alone the interval means something; None if in any."""
        ...

    async def advance(self, connection: AsyncConnection, interval: Interval, rows: int) -> Cut:
        """Cut off a batch that looks at about so many rows of the interval's beginning; at 1, at a single one."""
        ...

    async def guess(self, connection: AsyncConnection, interval: Interval, rows: int) -> Cut | None:
        """Cut off a batch of about so many rows without looking at them; None where there is nothing to go by."""
        ...

    def where(self, interval: Interval) -> ColumnElement[bool]:
        """Return the condition that a row lies in the interval."""
        ...

    def along_pages(self, interval: Interval) -> Interval | None:
        """Return the same stretch in the order of the disk, where looking for the next row takes too long.

        None if it goes that way already.
        """
        ...

    def as_it_is(self, interval: Interval) -> Interval:
        """Return the interval without lines of files that are no more: the table was rewritten, and its rows moved."""
        ...

    def is_dearer(self, fruitless: int) -> bool:
        """Whether so many rows that were looked at and stayed have cost more than the pages would."""
        ...

    def fraction(self, interval: Interval) -> float | None:
        """Return the part of the table that lies before the interval (0 to 1), or None where only rows tell."""
        ...
