"""What Alembic runs for each of its commands, from `kiqstart migrate` or from `alembic` itself."""

import asyncio
import importlib
import pkgutil

from alembic import context
from alembic.runtime.environment import NameFilterParentNames, NameFilterType
from sqlalchemy import Connection, text

import todo_service.core
from kiqstart import load_settings
from kiqstart.retention import upgrade_retention
from todo_service.infrastructure.database.base import Base
from todo_service.infrastructure.database.engine import create_engine
from todo_service.infrastructure.database.settings import DatabaseSettings, SchemaSettings

# Mapped classes add their tables to the metadata when their module is imported.
for module in pkgutil.walk_packages(todo_service.core.__path__, "todo_service.core."):
    if module.name.endswith(".models"):
        importlib.import_module(module.name)

target_metadata = Base.metadata
OWN_TABLES = target_metadata.tables

# One for all migrations of this project; any number that no other user of the database's advisory locks takes.
LOCK = 7_461_236_910


version_table = load_settings(SchemaSettings).database_version_table


def is_ours(name: str | None, kind: NameFilterType, parents: NameFilterParentNames) -> bool:
    """Whether a new migration may touch what the database has: partitions and other programs' tables are not ours."""
    if kind == "schema":
        return name is None or name in {table.schema for table in OWN_TABLES.values()}
    return kind != "table" or parents["schema_qualified_table_name"] in OWN_TABLES


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=target_metadata,
        include_schemas=True,
        include_name=is_ours,
        version_table=version_table,
    )
    with context.begin_transaction():
        # A second process that migrates at the same time waits here, and then finds nothing left to do.
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        context.run_migrations()
        # Beside them, with a version of their own: the tables of the retention engine.
        upgrade_retention(connection)


def write_sql() -> None:
    context.configure(
        dialect_name="postgresql", target_metadata=target_metadata, literal_binds=True, version_table=version_table
    )
    with context.begin_transaction():
        context.run_migrations()


async def connect_and_migrate() -> None:
    engine = create_engine(load_settings(DatabaseSettings))
    try:
        async with engine.connect() as connection:
            await connection.run_sync(migrate)
    finally:
        await engine.dispose()


given = context.config.attributes.get("connection")
if isinstance(given, Connection):
    migrate(given)
elif context.is_offline_mode():
    write_sql()
else:
    asyncio.run(connect_and_migrate())
