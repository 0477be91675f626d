"""The engine's own tables, and the migrations that make them: beside an application's, whatever keeps those.

The version is in a table of its own, so an `alembic_version` is nobody's concern here, and an application's history has
no revision of the framework in it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from sqlalchemy import Connection, String, column, func, select, table, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.errors import RetentionSchemaError
from kiqstart.retention.models import RetentionRun, UndeletableRow

VERSION_TABLE: Final = "retention_version"
# The last of the migrations; `check_tables` is asked often, and need not read them.
HEAD: Final = "0001"

# What the role of those who run policies needs of these tables, as GRANT has it.
RETENTION_RIGHTS: Final[Mapping[str, Sequence[str]]] = MappingProxyType(
    {
        VERSION_TABLE: ("SELECT",),
        RetentionRun.__tablename__: ("SELECT", "INSERT", "UPDATE", "DELETE"),
        UndeletableRow.__tablename__: ("SELECT", "INSERT", "UPDATE", "DELETE"),
    }
)

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
# One for all processes that migrate; any number that no other user of the database's advisory locks takes.
_LOCK: Final = 7_461_236_911
# Tables, and partitioned ones.
_KINDS: Final = frozenset({"r", "p"})
_COLUMNS: Final = text(
    "SELECT a.attname, CAST(c.relkind AS text) AS relkind "
    "FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid "
    "WHERE c.oid = to_regclass(:name) AND a.attnum > 0 AND NOT a.attisdropped"
)
_NOT_THERE: Final = frozenset({"42P01", "42703"})
_MEND: Final = (
    "run `kiqstart retention migrate`, or `await RetentionEngine.migrate()`, or call `upgrade_retention(connection)` "
    "in the env.py of your migrations"
)


def upgrade_retention(connection: Connection) -> None:
    """Make the engine's tables, or bring them up to date; of several processes at once, one does and the others wait.

    In the `env.py` of an application's migrations, behind `context.run_migrations()`, it is part of that transaction; a
    connection without a transaction gets one.

    Raises:
        RetentionSchemaError: the tables are of a later version of kiqstart.
    """
    if connection.in_transaction():
        _upgrade(connection)
    else:
        with connection.begin():
            _upgrade(connection)


def _upgrade(connection: Connection) -> None:
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from alembic.script.revision import ResolutionError
    from alembic.util import CommandError

    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    scripts, current = ScriptDirectory(str(_MIGRATIONS)), context.get_current_revision()
    try:
        missing = list(scripts.iterate_revisions("head", current or "base"))
    except (CommandError, ResolutionError):
        raise RetentionSchemaError(_newer(current)) from None
    with Operations.context(context):
        for revision in reversed(missing):
            revision.module.upgrade()
    context.stamp(scripts, "head")


async def check_tables(connection: AsyncConnection) -> None:
    """Return if the engine's tables are those of this version, without importing Alembic.

    Raises:
        RetentionSchemaError: they are not there, behind, or of a later version.
    """
    versions = table(VERSION_TABLE, column("version_num", String))
    if await connection.scalar(select(func.to_regclass(VERSION_TABLE).is_(None))):
        raise RetentionSchemaError(f"the tables of the retention engine are not there: {_MEND}")
    if (found := await connection.scalar(select(versions.c.version_num))) != HEAD:
        known = {path.name.partition("_")[0] for path in _MIGRATIONS.glob("versions/*.py")}
        problem = f"the tables of the retention engine are at {found}, this version needs {HEAD}: {_MEND}"
        raise RetentionSchemaError(problem if found is None or found in known else _newer(found))


async def check_columns(connection: AsyncConnection) -> None:
    """Return if the engine's tables have the columns that it needs, whatever their version says.

    Raises:
        RetentionSchemaError: one is not there, or is somebody else's.
    """
    for model in (RetentionRun, UndeletableRow):
        name = model.__tablename__
        rows = await connection.execute(_COLUMNS, {"name": name})
        found = {str(row.attname): str(row.relkind) for row in rows}
        if not found:
            raise RetentionSchemaError(
                f"the table {name} is not there, though {VERSION_TABLE} says that it was made: drop {VERSION_TABLE}, "
                "and run `kiqstart retention migrate`"
            )
        missing = sorted({column.name for column in model.__table__.columns} - found.keys())
        if missing or not set(found.values()) <= _KINDS:
            what = f"has no column {missing[0]!r}" if missing else "is no table"
            raise RetentionSchemaError(
                f"{name} is not the retention engine's: it {what}; give it another name, drop {VERSION_TABLE}, and run "
                "`kiqstart retention migrate`"
            )


def missing_tables(error: DBAPIError) -> RetentionSchemaError | None:
    """What an error of the database says, if it is that the engine's tables are not there or behind."""
    code = getattr(error.driver_exception, "sqlstate", None)
    if code in _NOT_THERE and "retention_" in str(error.driver_exception):
        return RetentionSchemaError(f"the tables of the retention engine are not there, or behind: {_MEND}")
    return None


def _newer(version: str | None) -> str:
    return f"the tables of the retention engine are at {version}, which is of a later version of kiqstart: install that"
