"""Policies that are refused at start with one line, since a DELETE would not do what they say."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import pytest
import pytest_asyncio
from sqlalchemy import ColumnElement, DateTime, Integer, MetaData, String, bindparam, exists, func, text
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, Mapped, aliased, column_property, mapped_column, synonym
from tests.kiqstart.integration.retention.database import Database
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.retention.engine import RetentionEngine
from kiqstart.retention.errors import PolicyError
from kiqstart.retention.planner import choose_scan
from kiqstart.retention.policy import RetentionPolicy, ScanKind

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Odd(DeclarativeBase):
    metadata = MetaData()


class Parcel(Odd):
    __tablename__ = "parcels"

    id: Mapped[int] = mapped_column(primary_key=True)
    # Its key is not its name.
    sent: Mapped[datetime] = mapped_column("sent_at", DateTime(timezone=True), key="sent", index=True)
    seen_at: Mapped[datetime] = mapped_column(DateTime())
    is_lost: Mapped[bool | None]
    when: Mapped[datetime] = synonym("sent")
    year: Mapped[int] = column_property(func.extract("year", text("sent_at")))

    @hybrid_property
    def moment(self) -> datetime:
        return self.sent

    @hybrid_property
    def weight(self) -> Any:  # noqa: ANN401 - an expression of the class
        return func.length(self.id)


class Letter(Odd):
    __tablename__ = "letters"

    id: Mapped[int] = mapped_column(primary_key=True)
    parcel: Mapped[int] = mapped_column(Integer)
    name: Mapped[str] = mapped_column(String)


TABLE = (
    "CREATE TABLE parcels (id int PRIMARY KEY, sent_at timestamptz NOT NULL, seen_at timestamp NOT NULL, is_lost bool)",
    "CREATE INDEX ON parcels (sent_at)",
    """
    INSERT INTO parcels SELECT n, timestamptz '2025-12-31' + n * interval '1 minute', timestamp '2025-12-31',
        CASE n % 3 WHEN 0 THEN true WHEN 1 THEN false END FROM generate_series(1, 2000) n
    """,
)


@pytest_asyncio.fixture
async def parcels(database: Database) -> Database:
    database.drop_after.extend(["DROP TABLE IF EXISTS parcels, letters CASCADE"])
    await database.execute(*TABLE)
    return database


def policy(predicate: object = None, **more: Any) -> RetentionPolicy:  # noqa: ANN401 - fields of the policy
    condition = cast("ColumnElement[bool]", Parcel.sent < NOW if predicate is None else predicate)
    return RetentionPolicy(name="odd", model=Parcel, predicate=condition, **more)


async def refusal(retention: RetentionEngine, refused: RetentionPolicy) -> str:
    """Return the line with which a policy is refused, by whatever is asked of it."""
    lines: set[str] = set()
    for ask in (lambda: retention.check([refused]), lambda: retention.preview(refused), lambda: retention.run(refused)):
        with pytest.raises(PolicyError, match=r"^retention policy 'odd': ") as caught:
            await ask()
        lines.add(str(caught.value))
    (line,) = lines
    assert "\n" not in line
    return line


PREDICATES: dict[str, tuple[Callable[[], object], str]] = {
    "a forgotten EXISTS": (lambda: Letter.name == "x", "names more than the table 'parcels': 'letters'; look there by"),
    "a forgotten join": (lambda: (Letter.parcel == Parcel.id) & (Letter.name == "x"), "'letters'"),
    "a forgotten join beside an EXISTS": (
        lambda: exists().where(Letter.parcel == Parcel.id) & (Letter.name == "x"),
        "names a table both in a subquery and outside of it",
    ),
    "an alias": (lambda: aliased(Parcel, name="other").id > 3, "names more than the table"),
    "other rows of its own table": (
        lambda: ~exists().where((newer := aliased(Parcel)).id > Parcel.id, newer.id < 9),
        "looks at other rows of 'parcels'",
    ),
    "Python's and": (lambda: False, "must be a condition of SQLAlchemy's, not False"),
    "no condition": (lambda: Parcel.id, "argument of WHERE must be type boolean"),
    "another type": (lambda: Parcel.id == "x", "cannot run its statement: operator does not exist"),
    "no such function": (lambda: func.nothing(Parcel.id) == 1, r"function nothing\(integer\) does not exist"),
    "a number too large": (lambda: Parcel.id == 2**70, "out of int32|out of int64"),
    "a parameter without a value": (lambda: Parcel.id == bindparam("later"), "'later'"),
    "no time zone": (lambda: Parcel.sent < datetime(2026, 1, 1), "has a time zone, so give the moment one"),  # noqa: DTZ001
    "a time zone too much": (lambda: Parcel.seen_at < NOW, r"has no time zone, so .*\.replace\(tzinfo=None\)"),
    "one of several": (lambda: Parcel.sent.in_([NOW, datetime(2026, 1, 1)]), "give the moment one"),  # noqa: DTZ001
    "inside": (lambda: exists().where(Letter.parcel == Parcel.id, Parcel.seen_at < NOW), "the column has no time zone"),
}


async def test_a_predicate_is_refused(retention: RetentionEngine, parcels: Database) -> None:
    await parcels.execute("CREATE TABLE letters (id int PRIMARY KEY, parcel int NOT NULL, name text NOT NULL)")
    for name, (made, said) in PREDICATES.items():
        assert re.search(said, await refusal(retention, policy(made()))), name
    assert await parcels.count("parcels") == 2000


CURSORS: dict[str, Callable[[], object]] = {
    "an expression": lambda: Parcel.year,
    "a hybrid of an expression": lambda: Parcel.weight,
    "another table's column": lambda: Letter.id,
    "a function": lambda: func.lower(Parcel.id),
}


@pytest.mark.parametrize("name", CURSORS)
async def test_a_cursor_that_is_no_column_is_refused(retention: RetentionEngine, parcels: Database, name: str) -> None:
    assert "is not a column of 'parcels'" in await refusal(retention, policy(cursor=(CURSORS[name](),)))
    assert await parcels.count("parcels") == 2000


@pytest.mark.parametrize("name", ["sent", "when", "moment"])
async def test_a_cursor_may_be_called_otherwise(retention: RetentionEngine, parcels: Database, name: str) -> None:
    asked = policy(cursor=(getattr(Parcel, name),), scan=ScanKind.KEY, error_key=(getattr(Parcel, name),))
    assert (await retention.run(asked)).deleted == 1439
    assert await parcels.count("parcels WHERE sent_at < '2026-01-01 00:00+00'") == 0


async def test_text_with_an_or_is_one_condition(retention: RetentionEngine, parcels: Database) -> None:
    both = policy(text("id = 1 OR id > 1990"), cursor=(Parcel.id,), scan=ScanKind.KEY)
    assert (await retention.preview(both)).rows == (await retention.run(both)).deleted == 11
    assert await parcels.count("parcels") == 1989


NULLS: dict[str, tuple[tuple[str, ...], Callable[[], RetentionPolicy], str]] = {
    "true of NULL": (
        (),
        lambda: policy(Parcel.is_lost.is_not(True), cursor=(Parcel.is_lost,)),
        "column 'is_lost' may be NULL",
    ),
    "NULL in PostgreSQL alone": (
        ("ALTER TABLE parcels ALTER sent_at DROP NOT NULL", "UPDATE parcels SET sent_at = NULL WHERE id = 7"),
        lambda: policy(Parcel.id < 100, cursor=(Parcel.sent,)),
        "column 'sent_at' of parcels may be NULL in PostgreSQL",
    ),
    "a key that is none": (
        ("ALTER TABLE parcels DROP CONSTRAINT parcels_pkey", "ALTER TABLE parcels ALTER id DROP NOT NULL"),
        policy,
        "column 'id' of parcels may be NULL in PostgreSQL",
    ),
    "a time zone in the model alone": (
        ("ALTER TABLE parcels ALTER sent_at TYPE timestamp",),
        policy,
        r"column 'sent_at' has no time zone in PostgreSQL.*`DateTime\(timezone=False\)`",
    ),
    "a rule": (
        ("CREATE RULE keep AS ON DELETE TO parcels DO INSTEAD NOTHING",),
        policy,
        "rule 'keep' does something else instead of a DELETE from parcels",
    ),
    "no replica identity": (
        ("ALTER TABLE parcels REPLICA IDENTITY NOTHING", "CREATE PUBLICATION odd FOR TABLE parcels"),
        policy,
        "no replica identity.*`ALTER TABLE parcels REPLICA IDENTITY FULL`",
    ),
    "no such cursor": (
        ("ALTER TABLE parcels RENAME sent_at TO since",),
        lambda: policy(Parcel.id < 9, cursor=(Parcel.sent,)),
        "parcels has no column 'sent_at': run the migration",
    ),
    "no such key": (("ALTER TABLE parcels RENAME id TO number",), policy, "parcels has no column 'id'"),
    "no table": (("ALTER TABLE parcels RENAME TO letters",), policy, "has no table parcels"),
    "a view": (
        ("ALTER TABLE parcels RENAME TO letters", "CREATE VIEW parcels AS TABLE letters"),
        policy,
        "parcels is a view",
    ),
    "a materialized view": (
        ("ALTER TABLE parcels RENAME TO letters", "CREATE MATERIALIZED VIEW parcels AS TABLE letters"),
        lambda: policy(scan=ScanKind.PAGES),
        "parcels is a materialized view",
    ),
    "a foreign table": (
        (
            "CREATE FOREIGN DATA WRAPPER nobodys",
            "CREATE SERVER nobodys FOREIGN DATA WRAPPER nobodys",
            "ALTER TABLE parcels RENAME TO letters",
            "CREATE FOREIGN TABLE parcels (id int, sent_at timestamptz, seen_at timestamp) SERVER nobodys",
        ),
        policy,
        "parcels is a foreign table",
    ),
    "a foreign partition": (
        (
            "CREATE FOREIGN DATA WRAPPER nobodys",
            "CREATE SERVER nobodys FOREIGN DATA WRAPPER nobodys",
            "CREATE FOREIGN TABLE letters () INHERITS (parcels) SERVER nobodys",
        ),
        policy,
        "letters is a foreign table among the partitions of parcels",
    ),
}


@pytest.mark.parametrize("name", NULLS)
async def test_a_table_is_refused(retention: RetentionEngine, parcels: Database, name: str) -> None:
    change, made, said = NULLS[name]
    parcels.drop_after[:0] = [
        "DROP PUBLICATION IF EXISTS odd",
        "DROP FOREIGN DATA WRAPPER IF EXISTS nobodys CASCADE",
        "DO $$ BEGIN DROP VIEW IF EXISTS parcels; EXCEPTION WHEN wrong_object_type THEN NULL; END $$",
        "DO $$ BEGIN DROP MATERIALIZED VIEW IF EXISTS parcels; EXCEPTION WHEN wrong_object_type THEN NULL; END $$",
    ]
    await parcels.execute(*change)
    assert re.search(said, await refusal(retention, made()))


async def test_rows_that_the_role_does_not_see_are_an_error(
    parcels: Database,
) -> None:
    parcels.drop_after[:0] = ["DROP OWNED BY gardener", "DROP ROLE gardener"]
    await parcels.execute(
        "CREATE ROLE gardener",
        "GRANT USAGE ON SCHEMA public TO gardener",
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO gardener",
        "ALTER TABLE parcels ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY visible ON parcels USING (id > 1000)",
    )
    async with parcels.engine.connect() as connection:
        await connection.exec_driver_sql("SET ROLE gardener")
        with pytest.raises(PolicyError, match="row-level security hides rows of parcels from role 'gardener'"):
            await choose_scan(connection, policy())


@pytest.mark.parametrize("schema", [None, "shed"])
async def test_a_schema_that_the_role_may_not_use_is_named(parcels: Database, schema: str | None) -> None:
    parcels.drop_after[:0] = ["DROP SCHEMA shed CASCADE", "DROP OWNED BY gardener", "DROP ROLE gardener"]
    await parcels.execute("CREATE ROLE gardener", "CREATE SCHEMA shed", "ALTER TABLE parcels SET SCHEMA shed")
    async with parcels.engine.execution_options(schema_translate_map={None: schema}).connect() as connection:
        await connection.exec_driver_sql("SET search_path = shed")
        await connection.exec_driver_sql("SET ROLE gardener")
        with pytest.raises(PolicyError, match="`GRANT USAGE ON SCHEMA shed TO gardener`"):
            await choose_scan(connection, policy())


@pytest.mark.parametrize("scan", [ScanKind.KEY, ScanKind.PAGES])
async def test_rows_that_a_trigger_keeps_are_reported(
    make_retention: EngineFactory, parcels: Database, scan: ScanKind
) -> None:
    await parcels.before_delete("parcels", "IF OLD.id % 10 = 0 THEN RETURN NULL; END IF;")
    some = policy(Parcel.id <= 1000, cursor=(Parcel.id,), scan=scan)
    async with parcels.engine.connect() as other:
        await other.exec_driver_sql("SELECT FROM parcels WHERE id IN (500, 501) FOR UPDATE")
        report = await make_retention(batch_rows=150, locked_wait=0.3).run(some)
    assert (report.deleted, report.failed, report.skipped) == (899, 99, 2)
    (failure,) = report.errors
    assert (failure.error, failure.rows) == ("trigger 'refuse' keeps the row", 99)
    assert await parcels.count("parcels WHERE id <= 1000") == 101
