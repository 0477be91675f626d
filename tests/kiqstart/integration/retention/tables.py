"""Tables of many shapes, which tests create and drop."""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from sqlalchemy import DateTime, Identity, Index, Integer, MetaData, Numeric, SmallInteger, String, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Tables(DeclarativeBase):
    metadata = MetaData()
    type_annotation_map: ClassVar = {datetime: DateTime(timezone=True), Decimal: Numeric()}


class Token(Tables):
    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)
    note: Mapped[str | None]


class Upload(Tables):
    __tablename__ = "uploads"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    is_finished: Mapped[bool]


class Reading(Tables):
    __tablename__ = "readings"

    sensor: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[float]


class Event(Tables):
    __tablename__ = "events"
    __table_args__ = ({"postgresql_partition_by": "RANGE (at)"},)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True, index=True)
    body: Mapped[str]


class Word(Tables):
    __tablename__ = "words"

    id: Mapped[int] = mapped_column(primary_key=True)
    word: Mapped[str] = mapped_column(index=True)


class Price(Tables):
    __tablename__ = "prices"

    id: Mapped[int] = mapped_column(primary_key=True)
    price: Mapped[Decimal] = mapped_column(index=True)
    ratio: Mapped[float] = mapped_column(index=True)


class Holiday(Tables):
    __tablename__ = "holidays"

    id: Mapped[int] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(index=True)


class Narrow(Tables):
    """The model of an older version: the columns of today's table hold more than its types."""

    __tablename__ = "narrow"

    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(String(3), index=True)
    number: Mapped[int] = mapped_column(SmallInteger, index=True)
    parts: Mapped[list[int]] = mapped_column(postgresql.ARRAY(Integer), index=True)


class Article(Tables):
    __tablename__ = "articles"

    __table_args__ = (Index("articles_deleted", "deleted_at", postgresql_where=text("deleted_at IS NOT NULL")),)

    id: Mapped[int] = mapped_column(primary_key=True)
    deleted_at: Mapped[datetime | None]


class Visit(Tables):
    """Names that have to be quoted, in a schema of its own; columns are called otherwise than their attributes."""

    __tablename__ = 'Visits of "all"'
    __table_args__ = ({"schema": "Analytics"},)

    id: Mapped[int] = mapped_column("ID", primary_key=True)
    origin: Mapped[str] = mapped_column("from", postgresql.INET, index=True)


class Mood(StrEnum):
    GOOD = "good"
    BAD = "bad"
    UGLY = "ugly"


class Opinion(Tables):
    __tablename__ = "opinions"

    id: Mapped[int] = mapped_column(primary_key=True)
    mood: Mapped[Mood] = mapped_column(index=True)
