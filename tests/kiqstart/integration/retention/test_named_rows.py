"""Of whatever class and predicate: what SQLAlchemy selects is what the preview counts and what the run deletes."""

import asyncio
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from sqlalchemy import URL, Connection, select, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.schema import CreateSchema
from sqlalchemy.sql.elements import Grouping
from tests.kiqstart.integration.retention.database import table_of
from tests.kiqstart.integration.retention.examples import examples
from tests.kiqstart.integration.retention.generated import Made, models, predicates, quoted, rows_sql
from tests.service import database_settings
from tests.todo_service.integration.core.engines import EngineFactory

from kiqstart.retention.engine import RetentionEngine
from kiqstart.retention.errors import PolicyError
from kiqstart.retention.policy import RetentionPolicy, ScanKind
from kiqstart.retention.preview import RetentionPreview


@st.composite
def policies(draw: st.DrawFn) -> tuple[Made, RetentionPolicy, bool]:
    """Make a policy on a generated model, and say whether it may be refused for what its predicate names."""
    made = draw(models())
    model: Any = made.model
    if made.refused is not None:
        named: Any = model.number > 1
        cursor: Any = ()
        may_be_refused = True
    else:
        drawn = draw(predicates(made))
        named, may_be_refused = drawn.predicate, drawn.may_be_refused
        cursor = draw(st.sampled_from([(), (model.at,), (model.when,), (model.moment,), (model.at, model.number)]))
    scan: ScanKind | None = draw(st.sampled_from([None, ScanKind.PAGES, *([ScanKind.KEY] if cursor else [])]))
    return (
        made,
        RetentionPolicy(name="generated", model=model, predicate=named, cursor=cursor, scan=scan),
        may_be_refused,
    )


def create(connection: Connection, made: Made) -> None:
    """Create the tables of a generated model and their rows."""
    schema = made.metadata.schema
    if schema:
        connection.execute(CreateSchema(schema, if_not_exists=True))
    made.metadata.create_all(connection, checkfirst=False)
    for statement in (*made.after, *rows_sql(made), *made.later):
        connection.exec_driver_sql(statement)


def contents(connection: Connection, made: Made) -> dict[str, set[Any]]:
    """Return the keys in each table."""
    found: dict[str, set[Any]] = {}
    for table in made.metadata.sorted_tables:
        found[table.name] = set(connection.scalars(select(*table.primary_key.columns)))
    return found


def drop(connection: Connection, made: Made) -> None:
    for table in reversed(made.metadata.sorted_tables):
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {quoted(table.schema, table.name)} CASCADE")


async def previewed(retention: RetentionEngine, policy: RetentionPolicy) -> tuple[str, RetentionPreview | None]:
    """Return the preview, or the line with which the policy is refused."""
    try:
        return "", await retention.preview(policy)
    except PolicyError as error:
        return str(error), None


async def check_policy(url: URL, made: Made, policy: RetentionPolicy, *, may_be_refused: bool) -> None:
    engine = create_async_engine(url)
    retention = EngineFactory(async_sessionmaker(engine))(pace="full", batch_rows=25)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(create, made)
            before = await connection.run_sync(contents, made)
        line, preview = await previewed(retention, policy)
        if preview is None:
            event(f"refused: {made.refused or 'for what it names'}")
            assert "\n" not in line
            assert may_be_refused or "no index leads" in line, line
            with pytest.raises(PolicyError):
                await retention.run(policy)
            async with engine.connect() as connection:
                assert await connection.run_sync(contents, made) == before
            return
        assert made.refused is None
        async with AsyncSession(engine) as session:
            model: Any = policy.model
            # In brackets: SQLAlchemy would add the class's own condition to the last part of a text with an OR in it.
            named = set(await session.scalars(select(model.id).where(Grouping(policy.predicate))))
        event(f"rows: {'all' if len(named) == 60 else min(len(named), 1)}")
        report = await retention.run(policy)
        async with engine.connect() as connection:
            after = await connection.run_sync(contents, made)
        table = table_of(policy.model)
        assert before[table.name] - after[table.name] == named
        assert (preview.rows, report.deleted, report.failed) == (len(named), len(named), 0)
        for name in before.keys() - {table.name}:
            # Of a child, in whose table each row has another half, the database itself takes that along.
            assert before[name] - after[name] <= named if name in made.halves else before[name] == after[name]
    finally:
        async with engine.begin() as connection:
            await connection.run_sync(drop, made)
            await connection.execute(text("DELETE FROM retention_runs WHERE policy = 'generated'"))
        await engine.dispose()


@examples(12)
@given(drawn=policies())
def test_what_is_selected_is_what_is_counted_and_deleted(
    database_url: str, drawn: tuple[Made, RetentionPolicy, bool]
) -> None:
    made, policy, may_be_refused = drawn
    url = database_settings(database_url).parsed_url().url
    asyncio.run(check_policy(url, made, policy, may_be_refused=may_be_refused))
