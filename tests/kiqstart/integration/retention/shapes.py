"""Rows and policies for tables of many shapes: a few lines each, of which the engine knows nothing beforehand."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, or_
from sqlalchemy.orm import InstrumentedAttribute
from tests.kiqstart.integration.retention.tables import (
    Article,
    Event,
    Holiday,
    Mood,
    Narrow,
    Opinion,
    Price,
    Reading,
    Tables,
    Token,
    Upload,
    Visit,
    Word,
)

from kiqstart.retention.policy import RetentionPolicy, ScanKind

# Rows of every shape.
ROWS = 400


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A table, its rows and a policy for it.

    `columns` and `values` say what is inserted, of the numbers n from 1 to 400 and their shuffled place in `place`.
    """

    model: type[Tables]
    predicate: ColumnElement[bool]
    columns: str
    values: str
    doomed: int
    cursor: tuple[InstrumentedAttribute[Any], ...] = ()
    before: tuple[str, ...] = ()
    order: str = "md5(n::text)"
    after: tuple[str, ...] = ()

    def policy(self, scan: ScanKind | None) -> RetentionPolicy:
        return RetentionPolicy(
            name=self.model.__tablename__, model=self.model, predicate=self.predicate, cursor=self.cursor, scan=scan
        )

    @property
    def table(self) -> str:
        table = self.policy(None).table
        return ".".join('"' + name.replace('"', '""') + '"' for name in (table.schema, table.name) if name)

    @property
    def fill(self) -> str:
        return (
            f"INSERT INTO {self.table} ({self.columns}) SELECT {self.values} "  # noqa: S608 - the test's own
            f"FROM generate_series(1, {ROWS}) n ORDER BY {self.order}"
        )


_CUTOFF = datetime(2026, 1, 11, tzinfo=UTC)
_HOURLY = "timestamptz '2026-01-01 01:00:00+00' + (n - 1) * interval '1 hour'"
# 239 hours of the first ten days.
_BEFORE = 239
_PARTITIONS = (
    *(
        f"CREATE TABLE events_{day} PARTITION OF events FOR VALUES "
        f"FROM ('2026-01-{day:02} 00:00+00') TO ('2026-01-{day + 3:02} 00:00+00')"
        for day in range(1, 13, 3)
    ),
    "CREATE TABLE events_rest PARTITION OF events DEFAULT",
)


def _narrow(cursor: InstrumentedAttribute[Any]) -> Shape:
    return Shape(
        model=Narrow,
        predicate=Narrow.id <= 150,
        cursor=(cursor,),
        columns="id, label, number, parts",
        values="n, 'label ' || to_char(n, '000'), n + 0.5, ARRAY[n, n % 3]",
        doomed=150,
        after=("ALTER TABLE narrow ALTER label TYPE text, ALTER number TYPE numeric",),
    )


def _events(*cursor: InstrumentedAttribute[datetime]) -> Shape:
    return Shape(
        model=Event,
        predicate=Event.at < _CUTOFF,
        cursor=cursor,
        columns="id, at, body",
        values=f"n, {_HOURLY}, repeat('x', n)",
        doomed=_BEFORE,
        after=_PARTITIONS,
    )


SHAPES: dict[str, Shape] = {
    "integer key": Shape(
        model=Token,
        predicate=Token.expires_at < _CUTOFF,
        cursor=(Token.expires_at,),
        columns="expires_at, note",
        values=f"{_HOURLY}, nullif(repeat('ä\\n', n % 5), '')",
        doomed=_BEFORE,
    ),
    "heap in descending order": Shape(
        model=Token,
        predicate=Token.expires_at < _CUTOFF,
        cursor=(Token.expires_at,),
        columns="expires_at",
        values=_HOURLY,
        doomed=_BEFORE,
        order="n DESC",
    ),
    "uuid key": Shape(
        model=Upload,
        predicate=Upload.is_finished.is_(True),
        cursor=(Upload.id,),
        columns="id, is_finished",
        values="md5(n::text)::uuid, n % 4 = 0",
        doomed=100,
    ),
    "composite key": Shape(
        model=Reading,
        predicate=Reading.value > 0,
        cursor=(Reading.sensor, Reading.number),
        columns="sensor, number, value",
        values="n % 3, n, n % 2",
        doomed=200,
    ),
    "composite key, cursor on its first column": Shape(
        model=Reading,
        predicate=Reading.sensor <= 1,
        cursor=(Reading.sensor,),
        columns="sensor, number, value",
        values="n % 3, n, n",
        doomed=267,
    ),
    "partitioned, cursor on time": _events(Event.at),
    "partitioned, no cursor": _events(),
    "text cursor": Shape(
        model=Word,
        predicate=Word.id <= 200,
        cursor=(Word.word,),
        columns="id, word",
        values="""n, CASE WHEN n <= 200 THEN (ARRAY['', ' ', '''', '"', '\\', 'ä', 'Ä', ',', '%', E'a\\nb'])[n % 10 + 1]
            || chr(97 + n % 19) ELSE 'z' || n END""",
        doomed=200,
    ),
    "numeric cursor": Shape(
        model=Price,
        predicate=Price.price <= Decimal("0.1"),
        cursor=(Price.price,),
        columns="id, price, ratio",
        values="n, CASE WHEN n <= 150 THEN 0.1 - (n / 7) * 1e-20 WHEN n = 400 THEN 'NaN' ELSE n + 0.10 END, 0",
        doomed=150,
    ),
    "float cursor": Shape(
        model=Price,
        predicate=Price.ratio < 0.5,
        cursor=(Price.ratio,),
        columns="id, price, ratio",
        values="n, 0, CASE WHEN n = 1 THEN '-Infinity' WHEN n <= 120 THEN 1.0::float / n - 1 ELSE n END",
        doomed=120,
    ),
    "longer text than in the model": _narrow(Narrow.label),
    "other numbers than in the model": _narrow(Narrow.number),
    "array cursor": _narrow(Narrow.parts),
    "date cursor": Shape(
        model=Holiday,
        predicate=Holiday.day < date(2026, 1, 1),
        cursor=(Holiday.day,),
        columns="id, day",
        values="""n, CASE WHEN n = 1 THEN '-infinity' WHEN n = 2 THEN 'infinity' WHEN n = 3 THEN '0044-03-15 BC'
            ELSE date '2025-12-31' + n / 40 END""",
        doomed=38,
    ),
    "nullable cursor with a partial index": Shape(
        model=Article,
        predicate=Article.deleted_at < _CUTOFF,
        cursor=(Article.deleted_at,),
        columns="id, deleted_at",
        values=f"n, CASE WHEN n % 2 = 0 THEN {_HOURLY} END",
        doomed=119,
    ),
    "names to be quoted": Shape(
        model=Visit,
        predicate=or_(Visit.origin.is_(None), Visit.id % 2 == 1),
        cursor=(Visit.origin,),
        columns='"ID", "from"',
        values="n, ('10.0.' || n % 7 || '.' || n % 100)::inet",
        doomed=200,
        before=('CREATE SCHEMA IF NOT EXISTS "Analytics"',),
    ),
    "enum cursor": Shape(
        model=Opinion,
        predicate=Opinion.mood != Mood.GOOD,
        cursor=(Opinion.mood,),
        columns="id, mood",
        values="n, (ARRAY['GOOD', 'BAD', 'UGLY'])[n % 3 + 1]::mood",
        doomed=267,
    ),
}
