"""The engine's own tables, beside whatever an application has."""

from collections.abc import AsyncGenerator, Generator

import pytest
import pytest_asyncio
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from kiqstart.retention import RetentionEngine, RetentionPolicy, RetentionSchemaError, upgrade_retention
from kiqstart.testing.servers import Servers, own_database

TABLES = {"retention_version", "retention_runs", "retention_undeletable"}


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    is_old: Mapped[bool]


OLD_ORDERS = RetentionPolicy(name="old_orders", model=Order, predicate=Order.is_old.is_(True))


@pytest.fixture
def empty_url(servers: Servers) -> Generator[str]:
    with own_database(servers.database_url) as url:
        yield url


@pytest_asyncio.fixture
async def shop(empty_url: str) -> AsyncGenerator[AsyncEngine]:
    """A database with a table and an Alembic of its own, and nothing of ours."""
    made = create_async_engine(empty_url.replace("postgresql://", "postgresql+asyncpg://", 1))
    async with made.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(text("INSERT INTO orders VALUES (1, true), (2, false), (3, true)"))
        await connection.execute(text("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)"))
        await connection.execute(text("INSERT INTO alembic_version VALUES ('theirs')"))
    yield made
    await made.dispose()


async def tables(engine: AsyncEngine) -> set[str]:
    async with engine.connect() as connection:
        return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))


async def test_an_engine_alone_takes_a_line_and_leaves_others_tables_alone(shop: AsyncEngine) -> None:
    retention = RetentionEngine(shop)
    await retention.migrate()
    await retention.migrate()
    report = await retention.run(OLD_ORDERS)
    assert report.deleted == 2
    assert await tables(shop) == TABLES | {"orders", "alembic_version"}
    async with shop.connect() as connection:
        assert await connection.scalar(text("SELECT version_num FROM alembic_version")) == "theirs"


async def test_without_its_tables_a_check_and_a_run_say_how_to_make_them(shop: AsyncEngine) -> None:
    retention = RetentionEngine(shop)
    with pytest.raises(RetentionSchemaError, match="are not there: run `kiqstart retention migrate`"):
        await retention.check([OLD_ORDERS])
    with pytest.raises(RetentionSchemaError, match="run `kiqstart retention migrate`"):
        await retention.run(OLD_ORDERS)
    async with shop.connect() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM orders")) == 3


async def test_tables_of_a_later_version_are_told_apart(shop: AsyncEngine) -> None:
    retention = RetentionEngine(shop)
    await retention.migrate()
    async with shop.begin() as connection:
        await connection.execute(text("UPDATE retention_version SET version_num = '9999'"))
    for call in (retention.migrate(), retention.check([OLD_ORDERS])):
        with pytest.raises(RetentionSchemaError, match="at 9999, which is of a later version of kiqstart"):
            await call


async def test_in_a_transaction_of_others_it_is_part_of_that_one(shop: AsyncEngine) -> None:
    def upgrade_and_undo(connection: Connection) -> None:
        upgrade_retention(connection)
        connection.rollback()

    async with shop.connect() as connection:
        await connection.execute(text("SELECT 1"))
        await connection.run_sync(upgrade_and_undo)
    assert not TABLES & await tables(shop)
    async with shop.connect() as connection:
        await connection.run_sync(upgrade_retention)
    assert await tables(shop) >= TABLES
