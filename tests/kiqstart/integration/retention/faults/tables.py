"""The tables that the tests delete from: small ones, on many pages, with keys of several kinds."""

from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, MetaData, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, Mapped, mapped_column

from kiqstart.retention.policy import RetentionPolicy, ScanKind

NOW = 100
"""Rows that expire before this are the policy's."""


class TestedBase(DeclarativeBase):
    metadata = MetaData()


class Entry(TestedBase):
    """A row that expires, of any key."""

    __abstract__ = True
    # Few rows on each page, so that a scan along the pages has some way to go.
    __table_args__ = ({"postgresql_with": {"fillfactor": 10}},)

    expires_at: Mapped[int] = mapped_column(index=True)
    note: Mapped[str]


class IntEntry(Entry):
    __tablename__ = "int_entries"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class UuidEntry(Entry):
    __tablename__ = "uuid_entries"

    id: Mapped[UUID] = mapped_column(primary_key=True)


class CompositeEntry(Entry):
    __tablename__ = "composite_entries"

    tenant: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class IntReference(TestedBase):
    """Holds a row of the other table fast."""

    __tablename__ = "int_references"
    __table_args__ = (ForeignKeyConstraint(["id"], ["int_entries.id"]),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class UuidReference(TestedBase):
    __tablename__ = "uuid_references"
    __table_args__ = (ForeignKeyConstraint(["id"], ["uuid_entries.id"], deferrable=True, initially="DEFERRED"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)


class CompositeReference(TestedBase):
    __tablename__ = "composite_references"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "number"], ["composite_entries.tenant", "composite_entries.number"]),
    )

    tenant: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


def expired(
    model: type[Entry] = IntEntry,
    scan: ScanKind = ScanKind.KEY,
    cursor: tuple[InstrumentedAttribute[Any], ...] | None = None,
) -> RetentionPolicy:
    """Everything that expires before `NOW`."""
    return RetentionPolicy(
        name="expired", model=model, predicate=model.expires_at < NOW, cursor=cursor or (model.expires_at,), scan=scan
    )


async def fill(connection: AsyncConnection, *, expired: int, kept: int) -> None:
    """Put rows into `int_entries`: ids from 1, those that are to go and those that stay mixed on every page."""
    await connection.execute(
        text("""
            INSERT INTO int_entries (id, expires_at, note)
            SELECT row_number() OVER (ORDER BY md5(n::text)),
                CASE WHEN n <= CAST(:expired AS int) THEN n % 90 ELSE 100 + n END, repeat('x', 100)
            FROM generate_series(1, CAST(:expired AS int) + CAST(:kept AS int)) n ORDER BY md5(n::text)
        """),
        {"expired": expired, "kept": kept},
    )
    await connection.execute(text("ANALYZE int_entries"))


async def rows_left(connection: AsyncConnection) -> dict[int, tuple[int, str]]:
    """All of `int_entries`."""
    rows = await connection.execute(text("SELECT id, expires_at, note FROM int_entries"))
    return {row.id: (row.expires_at, row.note) for row in rows}
