"""Rows that are equal in the cursor: one value of all, some values, in order or not, analysed or not, in partitions."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from typing import Final

from pydantic import SecretStr
from sqlalchemy import DateTime, MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from benchmarks.retention.connection import connect
from benchmarks.retention.plan import Plan
from benchmarks.retention.results import Contestant, EqualPart, EqualRun, Shape
from kiqstart.retention.engine import RetentionEngine
from kiqstart.retention.policy import PaceKind, RetentionPolicy
from kiqstart.retention.settings import RetentionSettings
from todo_service.infrastructure.database.database import service_database
from todo_service.infrastructure.database.engine import create_engine, create_session_factory
from todo_service.infrastructure.database.settings import DatabaseSettings

_WAYS: Final = (Contestant.UNBOUNDED, Contestant.KIQSTART)
_CUTOFF: Final = datetime(2026, 1, 1, tzinfo=UTC)
_DELETE: Final = "DELETE FROM moments WHERE at < '2026-01-01'"


class _Base(DeclarativeBase):
    metadata = MetaData()


class _Moment(_Base):
    __tablename__ = "moments"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)


@dataclass(frozen=True, kw_only=True)
class _Table:
    """So many rows to delete, of so many values, and as many to keep."""

    shape: Shape
    rows: int

    @property
    def statements(self) -> list[str]:
        """Make the table anew, and fill it."""
        values, parts = self.shape.values, " PARTITION BY RANGE (at)" if self.shape.is_partitioned else ""
        group = f"n % {values}" if self.shape.is_scattered else f"(n - 1) * {values} / {self.rows}"
        made = [
            "DROP TABLE IF EXISTS moments",
            f"CREATE TABLE moments (id bigint, at timestamptz NOT NULL, note text, PRIMARY KEY (id, at)){parts}",
            "CREATE INDEX ON moments (at)",
        ]
        if self.shape.is_partitioned:
            of = "PARTITION OF moments FOR VALUES"
            made += [
                f"CREATE TABLE moments_{year} {of} FROM ('{year}-01-01') TO ('{year + 1}-01-01')"
                for year in (2024, 2025, 2026)
            ]
        expired = f"timestamptz '2025-11-01' + {group} * interval '1 hour'"
        kept = "timestamptz '2026-02-01' + n * interval '1 ms'"
        made += [
            f"INSERT INTO moments SELECT n, {at}, 'a note of some words' FROM generate_series(1, {self.rows}) AS n"
            for at in (expired, kept)
        ]
        known = ["VACUUM ANALYZE moments"] if self.shape.is_analysed else []
        # Without statistics, but with the hint bits that the first reader sets.
        return ["SET synchronous_commit = off", *made, *known, "SELECT count(moments) FROM moments"]


async def measure_equal(plan: Plan) -> EqualPart:
    """Let the engine and one unbounded DELETE take turns on fresh copies of a table of each shape."""
    runs = [run for shape in Shape for run in await _take_turns(plan, _Table(shape=shape, rows=plan.rows))]
    return EqualPart(environment=plan.environment, rows=plan.rows, repeat=plan.repeat, runs=runs)


async def _take_turns(plan: Plan, table: _Table) -> list[EqualRun]:
    server, runs = plan.datasets.server, list[EqualRun]()
    template, name = (f"{server.prefix}_equal_{kind}" for kind in ("template", "run"))
    await server.create(template)
    try:
        await _make(server.url(template), table)
        for _, way in product(range(plan.repeat), _WAYS):
            await server.create(name, template=template)
            try:
                run = await _run(server.url(name), table, way)
            finally:
                await server.drop(name)
            plan.progress.say(f"equal: {table.shape}: {way}: {run.rows_per_second:,.0f} rows/s")
            runs.append(run)
    finally:
        await server.drop(template)
    return runs


async def _make(url: str, table: _Table) -> None:
    engine = create_engine(DatabaseSettings(database_url=SecretStr(url)))
    await service_database(engine).upgrade()
    await engine.dispose()
    async with connect(url) as connection:
        for statement in table.statements:
            await connection.execute(statement)


async def _run(url: str, table: _Table, way: Contestant) -> EqualRun:
    async with connect(url) as connection:
        for statement in ("SELECT count(moments) FROM moments", "CHECKPOINT"):
            await connection.execute(statement)
        if way is Contestant.UNBOUNDED:
            started = time.monotonic()
            await connection.execute(_DELETE)
            return EqualRun(shape=table.shape, contestant=way, deleted=table.rows, seconds=time.monotonic() - started)
    engine = create_engine(DatabaseSettings(database_url=SecretStr(url)))
    retention = RetentionEngine(create_session_factory(engine), settings=RetentionSettings(pace=PaceKind.FULL))
    policy = RetentionPolicy(name="moments", model=_Moment, predicate=_Moment.at < _CUTOFF, cursor=(_Moment.at,))
    await retention.check([policy])
    started = time.monotonic()
    report = await retention.run(policy)
    seconds = time.monotonic() - started
    await engine.dispose()
    if report.deleted != table.rows:
        raise RuntimeError(f"{table.shape}: {report.deleted} of {table.rows} rows went")
    return EqualRun(
        shape=table.shape,
        contestant=way,
        deleted=report.deleted,
        seconds=seconds,
        longest_batch=report.longest_batch,
        batches=report.batches,
    )
