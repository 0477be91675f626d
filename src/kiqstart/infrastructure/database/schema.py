"""The schema's version: bringing it up to date, and checking it before work starts."""

import ast
import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kiqstart.infrastructure.database.rights import Rights, check_rights, grant_rights
from kiqstart.infrastructure.errors import OperatorError

if TYPE_CHECKING:
    from alembic.config import Config

_PACKAGE = Path(__file__).parents[2]
_CHECKOUT = _PACKAGE.parents[1]
# Alembic keeps its context in module globals; env.py's lock in the database is only between processes.
_one_at_a_time = asyncio.Lock()
_VERSION_TABLE = "alembic_version"
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

    await _run(engine, lambda config: command.upgrade(config, revision))


async def downgrade(engine: AsyncEngine, revision: str) -> None:
    """Take the schema back to `revision`: `base` for an empty database, `-1` for one step. What it drops is lost.

    Raises:
        DatabaseUnavailableError: PostgreSQL cannot be reached.
        MigrationError: there is no such revision, or the database's own is unknown to this version.
    """
    from alembic import command

    await _run(engine, lambda config: command.downgrade(config, revision))


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
            await grant_rights(connection, role, rights)
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
        await check_rights(connection, {_VERSION_TABLE: ["SELECT"]})
        current = await _current_revisions(connection)
        if current == heads:
            await check_rights(connection, rights)
            return
    at, needed = ", ".join(sorted(current)) or "nothing", ", ".join(sorted(heads))
    if unknown := current - known.keys():
        raise SchemaOutOfDateError(
            f"the database's schema is at {', '.join(sorted(unknown))}, which this version does not know "
            f"(it knows up to {needed}): install the version that migrated {_place(engine)}"
        )
    raise SchemaOutOfDateError(
        f"the database's schema is at {at}, this version needs {needed}: run `kiqstart migrate` ({_place(engine)})"
    )


async def _current_revisions(connection: AsyncConnection) -> set[str]:
    if await connection.scalar(text("SELECT to_regclass('alembic_version') IS NULL")):
        return set()
    return set(await connection.scalars(text("SELECT version_num FROM alembic_version")))


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


async def _run(engine: AsyncEngine, command: Callable[["Config"], object]) -> None:
    from alembic.config import Config
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


def _place(engine: AsyncEngine) -> str:
    url = engine.url
    host = url.host or url.query.get("host", "localhost")
    port = url.port or url.query.get("port", 5432)
    return f"{host}:{port}/{url.database or url.username or ''}"
