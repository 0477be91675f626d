"""An application's database whose schema is kept by Alembic: brought up to date, and checked before work starts."""

import ast
import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, MetaData, String, column, func, select, table, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kiqstart.database.rights import MissingDatabaseRightsError, Rights, check_rights, grant_rights
from kiqstart.errors import OperatorError
from kiqstart.processes.forked_pool import ForkedPool

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.operations.ops import MigrationScript

# Duplicate prepared statement, and one that is not there: two clients have one connection of the server in turn.
_MIXED_UP: Final = frozenset({"42P05", "26000"})
# The server runs, and does not know the user, or by another password.
_REFUSED: Final = frozenset({"28000", "28P01"})
# Alembic keeps its context in module globals; what holds between processes is for env.py to do.
_one_at_a_time = asyncio.Lock()


class DatabaseUnavailableError(OperatorError):
    """PostgreSQL does not answer, or refuses the connection."""


class SchemaOutOfDateError(OperatorError):
    """The database's schema is not the one that this version of the program works with."""


class MigrationError(OperatorError):
    """Alembic cannot do what it was asked."""


@dataclass(frozen=True, kw_only=True)
class AlembicDatabase:
    """What the commands and the fixtures of tests ask of an application's database.

    The migrations' env.py takes the connection that is open already, as Alembic's cookbook has it: `context.config.
    attributes["connection"]`.

    Args:
        engine: connects to it.
        migrations: the folder of env.py and versions/.
        tables: what the application has of its own.
        version_table: where Alembic keeps the schema's revision.
        worker_rights: the least that the role of a worker needs, by table.
    """

    engine: AsyncEngine
    migrations: Path
    tables: Sequence[MetaData]
    version_table: str = "alembic_version"
    worker_rights: Rights = field(default_factory=dict[str, Sequence[str]])
    _forked_pool: ForkedPool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Let forked children leave the connections alone."""
        object.__setattr__(self, "_forked_pool", ForkedPool(self.engine))

    async def version(self) -> str:
        """Connect, and give PostgreSQL's version."""
        with suppress(SchemaOutOfDateError, MissingDatabaseRightsError):  # which `check` says
            await self.check_schema()
        async with self.engine.connect() as connection:
            return str(await connection.scalar(text("SHOW server_version")))

    async def check(self) -> str:
        """Check the schema's revision and the role's rights, and give the revision."""
        await self.check_schema(self.worker_rights)
        async with self.engine.connect() as connection:
            return ", ".join(sorted(await self._current_revisions(connection)))

    async def empty(self) -> None:
        """Delete all rows of the application's own tables, and begin their ids anew."""
        tables = ", ".join(f'"{one.name}"' for metadata in self.tables for one in metadata.sorted_tables)
        async with self.engine.begin() as connection:
            await connection.execute(text(f"TRUNCATE {tables} RESTART IDENTITY CASCADE"))

    async def close(self) -> None:
        """Let all connections go."""
        await self.engine.dispose()

    async def upgrade(self, revision: str = "head") -> None:
        """Bring the schema up to `revision`; of several processes at once, one migrates and the others wait for it.

        Raises:
            DatabaseUnavailableError: PostgreSQL cannot be reached.
            MigrationError: there is no such revision, or the database's own is unknown to this version.
        """
        from alembic import command

        await self._run(lambda config: command.upgrade(config, revision), asked_for=revision)

    async def downgrade(self, revision: str) -> None:
        """Take the schema back to `revision`: `base` for an empty database, `-1` for one step. What it drops is lost.

        Raises:
            DatabaseUnavailableError: PostgreSQL cannot be reached.
            MigrationError: there is no such revision, or the database's own is unknown to this version.
        """
        from alembic import command

        await self._run(lambda config: command.downgrade(config, revision), asked_for=revision)

    async def write_migration(self, name: str) -> Path:
        """Write a migration with what the models have and the (up-to-date) database has not, and return its path.

        Raises:
            DatabaseUnavailableError: PostgreSQL cannot be reached.
            MigrationError: models and database agree, the database is behind, or the folder cannot be written to.
        """
        from alembic import command
        from alembic.runtime.migration import MigrationContext

        def drop_empty(_: MigrationContext, __: object, scripts: "list[MigrationScript]") -> None:
            for script in scripts:
                self._keep_own(script)
            if all(script.upgrade_ops is None or script.upgrade_ops.is_empty() for script in scripts):
                scripts.clear()

        written: list[Path] = []

        def write(config: "Config") -> None:
            try:
                script = command.revision(config, name, autogenerate=True, process_revision_directives=drop_empty)
            except OSError as error:
                raise MigrationError(f"migrations: cannot write to {self.migrations}: {error.strerror}") from None
            written.extend(Path(one.path) for one in (script if isinstance(script, list) else [script]) if one)

        await self._run(write)
        if not written:
            raise MigrationError("models and database agree: there is nothing to migrate")
        return written[0]

    def _keep_own(self, script: "MigrationScript") -> None:
        """Leave out whatever is about tables that are none of the application's, as partitions and other programs'."""
        own = {(one.schema, one.name) for metadata in self.tables for one in metadata.tables.values()}
        for operations in (script.upgrade_ops, script.downgrade_ops):
            if operations is not None:
                operations.ops = [one for one in operations.ops if _table_of(one) in own or _table_of(one) is None]

    async def grant(self, role: str) -> None:
        """Give a role the least rights that a worker needs on this database's tables.

        Raises:
            DatabaseUnavailableError: PostgreSQL cannot be reached.
            MigrationError: there is no such role, or it is not for this one to give.
        """
        try:
            async with _connect(self.engine) as connection:
                await grant_rights(connection, role, {**self._version_rights(), **self.worker_rights})
                await connection.commit()
        except DBAPIError as error:
            raise MigrationError(f"rights of the role {role!r}: {_reason(error)} ({_place(self.engine)})") from None

    async def check_schema(self, rights: Rights | None = None) -> None:
        """Return if PostgreSQL answers and its schema is this version's, without importing Alembic.

        Args:
            rights: what else this role is to be allowed.

        Raises:
            DatabaseUnavailableError: PostgreSQL cannot be reached.
            MissingDatabaseRightsError: the role lacks rights, if only that to look at the schema's version.
            SchemaOutOfDateError: the schema is behind, ahead, or not there.
        """
        known = self._revisions()
        heads = known.keys() - set().union(*known.values())
        async with _connect(self.engine) as connection:
            await check_rights(connection, self._version_rights())
            current = await self._current_revisions(connection)
            if current == heads:
                await check_rights(connection, rights or {})
                return
        at, needed = ", ".join(sorted(current)) or "nothing", ", ".join(sorted(heads))
        if unknown := current - known.keys():
            raise SchemaOutOfDateError(
                f"the database's schema is at {', '.join(sorted(unknown))}, which this version does not know "
                f"(it knows up to {needed}): {self._whose()}"
            )
        raise SchemaOutOfDateError(
            f"the database's schema is at {at}, this version needs {needed}: run `kiqstart migrate` "
            f"({_place(self.engine)})"
        )

    def _version_rights(self) -> Rights:
        return {self.version_table: ["SELECT"]}

    async def _current_revisions(self, connection: AsyncConnection) -> set[str]:
        """Return what the database says of its schema's version; nothing where there is no schema."""
        versions = table(self.version_table, column("version_num", String))
        name = connection.dialect.identifier_preparer.quote(versions.name)
        if await connection.scalar(select(func.to_regclass(name).is_(None))):
            return set()
        return set(await connection.scalars(select(versions.c.version_num)))

    def _revisions(self) -> dict[str, set[str]]:
        """Return each revision with those that it follows, from the assignments at the top of the migrations' files."""
        revisions: dict[str, set[str]] = {}
        for path in self.migrations.glob("versions/*.py"):
            values = {
                node.target.id: ast.literal_eval(node.value)
                for node in ast.parse(path.read_text(encoding="utf-8")).body
                if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value
            }
            down: str | tuple[str, ...] | None = values["down_revision"]
            revisions[values["revision"]] = {down} if isinstance(down, str) else set(down or ())
        return revisions

    async def _run(self, command: Callable[["Config"], object], *, asked_for: str = "head") -> None:
        from alembic.config import Config
        from alembic.script.revision import ResolutionError
        from alembic.util import CommandError

        config = Config(toml_file=self.migrations.parent / "pyproject.toml")
        # Through ConfigParser, which reads a percent sign in the path as its own.
        config.set_main_option("script_location", str(self.migrations).replace("%", "%%"))

        def run(connection: Connection) -> None:
            config.attributes["connection"] = connection
            command(config)

        try:
            async with _one_at_a_time, _connect(self.engine) as connection:
                await connection.run_sync(run)
        except CommandError as error:
            if isinstance(error.__cause__, ResolutionError) and error.__cause__.argument != asked_for:
                raise MigrationError(f"migrations: {error}: {self._whose()}") from None
            raise MigrationError(f"migrations: {error} ({_place(self.engine)})") from None
        except DBAPIError as error:
            raise MigrationError(f"migrations: {_reason(error)} ({_place(self.engine)})") from None
        except (AssertionError, ValueError, LookupError):
            # So Alembic says that something odd is no revision.
            if asked_for == "head":
                raise
            raise MigrationError(f"migrations: {asked_for!r} is no revision ({_place(self.engine)})") from None

    def _whose(self) -> str:
        """Say what to do about a revision that is none of this project's."""
        return (
            f"install the version that migrated {_place(self.engine)}; if another program's Alembic keeps its own "
            f"migrations in that database, set DATABASE_VERSION_TABLE to another name than {self.version_table!r}"
        )


def _table_of(operation: object) -> tuple[str | None, str] | None:
    """Schema and name of the table that an operation is about; None where it is about no table."""
    name: str | None = getattr(operation, "table_name", None)
    return None if name is None else (getattr(operation, "schema", None), name)


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
            f"cannot reach PostgreSQL at {_place(engine)} (DATABASE_URL): {_reason(error)}; {_advice(error)}"
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


def _advice(error: OSError | DBAPIError | ValueError | OverflowError) -> str:
    if isinstance(error, DBAPIError) and getattr(error.driver_exception, "sqlstate", None) in _REFUSED:
        return "correct the user or the password"
    return "check the address and that the server runs"


def _place(engine: AsyncEngine) -> str:
    url = engine.url
    host = url.host or url.query.get("host", "localhost")
    port = url.port or url.query.get("port", 5432)
    return f"{host}:{port}/{url.database or url.username or ''}"
