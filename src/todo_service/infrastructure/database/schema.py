"""The schema's version: bringing it up to date, and checking it before work starts."""

import ast
import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, String, column, func, select, table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kiqstart.errors import OperatorError
from kiqstart.settings import load_settings
from todo_service.infrastructure.database.rights import Rights, check_rights, grant_rights
from todo_service.infrastructure.database.settings import SchemaSettings

if TYPE_CHECKING:
    from alembic.config import Config

_PACKAGE = Path(__file__).parents[2]
_CHECKOUT = _PACKAGE.parents[1]
# Duplicate prepared statement, and one that is not there: two clients have one connection of the server in turn.
_MIXED_UP: Final = frozenset({"42P05", "26000"})
# Alembic keeps its context in module globals; env.py's lock in the database is only between processes.
_one_at_a_time = asyncio.Lock()
_NO_MORE: Rights = MappingProxyType({})


class DatabaseUnavailableError(OperatorError):
    """PostgreSQL does not answer, or refuses the connection."""


class SchemaOutOfDateError(OperatorError):
    """The database's schema is not the one that this version of the program works with."""


class MigrationError(OperatorError):
    """Alembic cannot do what it was asked."""


async def upgrade(engine: AsyncEngine, revision: str = "head") -> None:
    """Bring the schema up to `revision`; of several processes at once, one migrates and the others wait for it.

    Raises:
        DatabaseUnavailableError: PostgreSQL cannot be reached.
        MigrationError: there is no such revision, or the database's own is unknown to this version.
    """
    from alembic import command

    await _run(engine, lambda config: command.upgrade(config, revision), asked_for=revision)


async def downgrade(engine: AsyncEngine, revision: str) -> None:
    """Take the schema back to `revision`: `base` for an empty database, `-1` for one step. What it drops is lost.

    Raises:
        DatabaseUnavailableError: PostgreSQL cannot be reached.
        MigrationError: there is no such revision, or the database's own is unknown to this version.
    """
    from alembic import command

    await _run(engine, lambda config: command.downgrade(config, revision), asked_for=revision)


async def write_migration(engine: AsyncEngine, name: str) -> Path:
    """Write a migration with what the models have and the (up-to-date) database has not, and return its path.

    Raises:
        DatabaseUnavailableError: PostgreSQL cannot be reached.
        MigrationError: models and database agree, the database is behind, or this is no checkout.
    """
    from alembic import command
    from alembic.operations.ops import MigrationScript
    from alembic.runtime.migration import MigrationContext

    if _migrations_folder() != _CHECKOUT / "migrations":
        raise MigrationError("migrations are written in a checkout of the project, not in an installed package")

    def drop_empty(_: MigrationContext, __: object, scripts: list[MigrationScript]) -> None:
        if all(script.upgrade_ops is None or script.upgrade_ops.is_empty() for script in scripts):
            scripts.clear()

    written: list[Path] = []

    def write(config: "Config") -> None:
        script = command.revision(config, name, autogenerate=True, process_revision_directives=drop_empty)
        written.extend(Path(one.path) for one in (script if isinstance(script, list) else [script]) if one)

    await _run(engine, write)
    if not written:
        raise MigrationError("models and database agree: there is nothing to migrate")
    return written[0]


async def grant(engine: AsyncEngine, role: str, rights: Rights) -> None:
    """Give a role its rights on this database's tables.

    Raises:
        DatabaseUnavailableError: PostgreSQL cannot be reached.
        MigrationError: there is no such role, or it is not for this one to give.
    """
    try:
        async with _connect(engine) as connection:
            await grant_rights(connection, role, {**_version_rights(), **rights})
            await connection.commit()
    except DBAPIError as error:
        raise MigrationError(f"rights of the role {role!r}: {_reason(error)} ({_place(engine)})") from None


async def check_schema(engine: AsyncEngine, rights: Rights = _NO_MORE) -> None:
    """Return if PostgreSQL answers and its schema is this version's, without importing Alembic.

    Args:
        engine: connects as the role in question.
        rights: what else this role is to be allowed.

    Raises:
        DatabaseUnavailableError: PostgreSQL cannot be reached.
        MissingDatabaseRightsError: the role lacks rights, if only that to look at the schema's version.
        SchemaOutOfDateError: the schema is behind, ahead, or not there.
    """
    known = _revisions()
    heads = known.keys() - set().union(*known.values())
    async with _connect(engine) as connection:
        await check_rights(connection, _version_rights())
        current = await current_revisions(connection)
        if current == heads:
            await check_rights(connection, rights)
            return
    at, needed = ", ".join(sorted(current)) or "nothing", ", ".join(sorted(heads))
    if unknown := current - known.keys():
        raise SchemaOutOfDateError(
            f"the database's schema is at {', '.join(sorted(unknown))}, which this version does not know "
            f"(it knows up to {needed}): {_whose(engine)}"
        )
    raise SchemaOutOfDateError(
        f"the database's schema is at {at}, this version needs {needed}: run `kiqstart migrate` ({_place(engine)})"
    )


def _version_rights() -> Rights:
    return {load_settings(SchemaSettings).database_version_table: ["SELECT"]}


async def current_revisions(connection: AsyncConnection) -> set[str]:
    """Return what the database says of its schema's version; nothing where there is no schema."""
    versions = table(load_settings(SchemaSettings).database_version_table, column("version_num", String))
    name = connection.dialect.identifier_preparer.quote(versions.name)
    if await connection.scalar(select(func.to_regclass(name).is_(None))):
        return set()
    return set(await connection.scalars(select(versions.c.version_num)))


def _revisions() -> dict[str, set[str]]:
    """Return each revision with those that it follows, from the assignments at the top of the migrations' files."""
    revisions: dict[str, set[str]] = {}
    for path in _migrations_folder().glob("versions/*.py"):
        values = {
            node.target.id: ast.literal_eval(node.value)
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value
        }
        down: str | tuple[str, ...] | None = values["down_revision"]
        revisions[values["revision"]] = {down} if isinstance(down, str) else set(down or ())
    return revisions


def _migrations_folder() -> Path:
    installed = _PACKAGE / "_migrations"
    return installed if installed.is_dir() else _CHECKOUT / "migrations"


async def _run(engine: AsyncEngine, command: Callable[["Config"], object], *, asked_for: str = "head") -> None:
    from alembic.config import Config
    from alembic.script.revision import ResolutionError
    from alembic.util import CommandError

    config = Config(toml_file=_CHECKOUT / "pyproject.toml")
    # Through ConfigParser, which reads a percent sign in the path as its own.
    config.set_main_option("script_location", str(_migrations_folder()).replace("%", "%%"))

    def run(connection: Connection) -> None:
        config.attributes["connection"] = connection
        command(config)

    try:
        async with _one_at_a_time, _connect(engine) as connection:
            await connection.run_sync(run)
    except CommandError as error:
        if isinstance(error.__cause__, ResolutionError) and error.__cause__.argument != asked_for:
            raise MigrationError(f"migrations: {error}: {_whose(engine)}") from None
        raise MigrationError(f"migrations: {error} ({_place(engine)})") from None
    except DBAPIError as error:
        raise MigrationError(f"migrations: {_reason(error)} ({_place(engine)})") from None


@asynccontextmanager
async def _connect(engine: AsyncEngine) -> AsyncGenerator[AsyncConnection]:
    connection = engine.connect()
    try:
        await connection.start()
    # asyncpg looks at what it is given when it connects, and complains of it with errors of these kinds.
    except (OSError, DBAPIError, ValueError, OverflowError) as error:
        if isinstance(error, DBAPIError) and getattr(error.driver_exception, "sqlstate", None) in _MIXED_UP:
            raise DatabaseUnavailableError(
                f"the pooler at {_place(engine)} (DATABASE_URL) mixes up prepared statements: {_reason(error)}; "
                "PgBouncer must be 1.21 or newer with max_prepared_statements above 0, or pool by sessions"
            ) from None
        raise DatabaseUnavailableError(
            f"cannot reach PostgreSQL at {_place(engine)} (DATABASE_URL): {_reason(error)}; "
            "check the address and that the server runs"
        ) from None
    try:
        yield connection
    finally:
        await connection.close()


def _reason(error: OSError | DBAPIError | ValueError | OverflowError) -> str:
    if isinstance(error, DBAPIError):
        # The further lines are DETAIL and HINT.
        return str(error.driver_exception).partition("\n")[0]
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return getattr(error, "strerror", None) or str(error) or "no answer in time"


def _whose(engine: AsyncEngine) -> str:
    """Say what to do about a revision that is none of this project's."""
    return (
        f"install the version that migrated {_place(engine)}; if another program's Alembic keeps its own migrations in "
        f"that database, set DATABASE_VERSION_TABLE to another name than "
        f"{load_settings(SchemaSettings).database_version_table!r}"
    )


def _place(engine: AsyncEngine) -> str:
    url = engine.url
    host = url.host or url.query.get("host", "localhost")
    port = url.port or url.query.get("port", 5432)
    return f"{host}:{port}/{url.database or url.username or ''}"
