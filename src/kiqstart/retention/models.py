"""The mapped classes of retention: where each run stands, so that a killed one is resumed, and what cannot go."""

from datetime import datetime
from typing import Any, ClassVar, Final
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, MetaData, false, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# As the constraints are named that Alembic writes for them.
_NAMING_CONVENTION: Final = {"pk": "pk_%(table_name)s"}


class RetentionBase(DeclarativeBase):
    """The tables of the engine, in a metadata of their own: beside an application's, and in none of its models."""

    metadata = MetaData(naming_convention=_NAMING_CONVENTION)
    type_annotation_map: ClassVar = {datetime: DateTime(timezone=True)}


class RetentionRun(RetentionBase):
    """A shard of a run, updated in the transaction of each batch: what is counted is deleted, and the reverse.

    `owner` is the worker that has the shard, alive while `heartbeat_at` is recent. `stopped` is None while the shard is
    not done; `taken_on` says that a later run has taken over the rest of it.
    """

    __tablename__ = "retention_runs"
    # Room on each page for the next versions of its rows, so that an update leaves the index alone.
    __table_args__ = ({"postgresql_with": {"fillfactor": 50}},)

    policy: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(primary_key=True)
    piece: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    pieces: Mapped[int]
    walk: Mapped[str]
    reason: Mapped[str]
    # What the scan's positions refer to: see `Scan.basis`.
    basis: Mapped[str]
    resumed: Mapped[bool]
    total: Mapped[int] = mapped_column(BigInteger)
    row_limit: Mapped[int | None] = mapped_column(BigInteger)
    state: Mapped[dict[str, Any]] = mapped_column(JSONB)
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    owner: Mapped[UUID | None]
    heartbeat_at: Mapped[datetime] = mapped_column(server_default=func.now())
    stopped: Mapped[str | None]
    taken_on: Mapped[bool] = mapped_column(server_default=false())


class UndeletableRow(RetentionBase):
    """A row that could not be deleted, which runs of its policy leave alone for a while. `key` is its primary key."""

    __tablename__ = "retention_undeletable"

    policy: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    error: Mapped[str]
    tried_at: Mapped[datetime] = mapped_column(server_default=func.now())
