import asyncio
import os
import shutil
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from errno import EACCES
from pathlib import Path
from typing import cast

import pytest
import pytest_asyncio
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from asyncpg.exceptions import DuplicatePreparedStatementError
from sqlalchemy import URL, CheckConstraint, Connection, MetaData, inspect, make_url, text
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from tests.service import database_settings, migrated_database

from kiqstart.database.alembic_database import DatabaseUnavailableError, MigrationError, SchemaOutOfDateError
from kiqstart.errors import OperatorError
from kiqstart.retention import RETENTION_RIGHTS
from kiqstart.retention import models as retention_models
from kiqstart.testing.servers import Servers
from todo_service.core.session import models as session_models
from todo_service.core.todo import models as todo_models
from todo_service.infrastructure.database import database
from todo_service.infrastructure.database.base import Base
from todo_service.infrastructure.database.database import service_database
from todo_service.infrastructure.database.engine import create_engine

CHECKOUT = Path(database.__file__).parents[4]
# Each metadata has migrations and a version of its own.
METADATA = [Base.metadata, retention_models.RetentionBase.metadata]
RETENTION_TABLES = set(RETENTION_RIGHTS)
TABLES = {
    session_models.RefreshSession.__tablename__,
    todo_models.Todo.__tablename__,
    "users",
}


@pytest.fixture
def own_url(servers: Servers) -> Generator[str]:
    """A migrated database for one test, which may change its schema."""
    with migrated_database(servers.database_url) as url:
        yield url


@pytest_asyncio.fixture
async def own_engine(own_url: str) -> AsyncGenerator[AsyncEngine]:
    engine = create_engine(database_settings(own_url))
    yield engine
    await engine.dispose()


async def tables(engine: AsyncEngine) -> set[str]:
    async with engine.connect() as connection:
        return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))


def is_compared(name: str | None, kind: str, _: object) -> bool:
    # Alembic knows its own version table by the name that it has in one of the two histories.
    return kind != "table" or name != "retention_version"


async def test_models_and_migrated_schema_agree(engine: AsyncEngine) -> None:
    def differences(connection: Connection) -> list[object]:
        options = {"compare_type": True, "compare_server_default": True, "include_name": is_compared}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), cast("MetaData", METADATA)))

    def checks(connection: Connection) -> set[str | None]:
        return {check["name"] for table in TABLES for check in inspect(connection).get_check_constraints(table)}

    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
        # Alembic does not compare these.
        assert await connection.run_sync(checks) == {
            str(constraint.name)
            for table in Base.metadata.tables.values()
            for constraint in table.constraints
            if isinstance(constraint, CheckConstraint)
        }


async def test_the_schema_goes_down_to_nothing_and_up_again(own_engine: AsyncEngine) -> None:
    await service_database(own_engine).check_schema()
    await service_database(own_engine).downgrade("base")
    assert await tables(own_engine) == {"alembic_version"} | RETENTION_TABLES
    with pytest.raises(SchemaOutOfDateError, match=r"is at nothing, this version needs .*: run `kiqstart migrate`"):
        await service_database(own_engine).check_schema()
    await service_database(own_engine).upgrade()
    assert await tables(own_engine) == {"alembic_version"} | TABLES | RETENTION_TABLES
    await service_database(own_engine).check_schema()
    await service_database(own_engine).upgrade()


async def test_a_database_whose_retention_tables_are_of_the_services_own_migrations_keeps_their_rows(
    own_engine: AsyncEngine,
) -> None:
    await service_database(own_engine).downgrade("32c5f6e66b08")
    undeletable = "INSERT INTO retention_undeletable (policy, key, error) VALUES ('todos', '7', 'it is held')"
    async with own_engine.begin() as connection:
        for statement in (undeletable, "DROP TABLE retention_version"):
            await connection.execute(text(statement))
    await service_database(own_engine).upgrade()
    await service_database(own_engine).check_schema()
    async with own_engine.connect() as connection:
        assert await connection.scalar(text("SELECT key FROM retention_undeletable")) == "7"


async def test_a_database_without_any_schema_is_behind(own_engine: AsyncEngine) -> None:
    await service_database(own_engine).downgrade("base")
    async with own_engine.begin() as connection:
        await connection.execute(text("DROP TABLE alembic_version"))
    with pytest.raises(SchemaOutOfDateError, match="run `kiqstart migrate`"):
        await service_database(own_engine).check_schema()


async def test_a_schema_of_a_later_version_is_told_apart(own_engine: AsyncEngine) -> None:
    async with own_engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = 'fromthefuture'"))
    with pytest.raises(SchemaOutOfDateError, match="is at fromthefuture, which this version does not know"):
        await service_database(own_engine).check_schema()
    with pytest.raises(MigrationError, match=r"fromthefuture.*DATABASE_VERSION_TABLE"):
        await service_database(own_engine).upgrade()
    with pytest.raises(MigrationError, match=r"identified by 'nowhere' \("):
        await service_database(own_engine).upgrade("nowhere")


async def test_another_programs_alembic_may_live_in_the_database(
    own_engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service_database(own_engine).downgrade("base")
    async with own_engine.begin() as connection:
        await connection.execute(text("INSERT INTO alembic_version VALUES ('9f3c1d2e4a5b')"))
    for call in ("check_schema", "upgrade"):
        with pytest.raises(OperatorError, match=r"9f3c1d2e4a5b.*set DATABASE_VERSION_TABLE to another name"):
            await getattr(service_database(own_engine), call)()
    monkeypatch.setenv("DATABASE_VERSION_TABLE", 'our "50%" Version')
    await service_database(own_engine).upgrade()
    await service_database(own_engine).check_schema()
    async with own_engine.connect() as connection:
        assert await connection.scalar(text("SELECT version_num FROM alembic_version")) == "9f3c1d2e4a5b"


_DRIVER_ERROR: Callable[[str, BaseException], BaseException] = AsyncAdapt_asyncpg_dbapi.ProgrammingError


async def test_a_pooler_that_mixes_prepared_statements_up_is_named(
    own_engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def mixed_up(_: AsyncConnection) -> None:
        cause = DuplicatePreparedStatementError('prepared statement "__asyncpg_stmt_1__" already exists')
        raise DBAPIError("SELECT 1", None, _DRIVER_ERROR(str(cause), cause))

    # PgBouncer before 1.21 in transaction mode: another client has prepared a statement on the server's connection.
    monkeypatch.setattr(AsyncConnection, "start", mixed_up)
    with pytest.raises(DatabaseUnavailableError, match=r"already exists.*PgBouncer.*max_prepared_statements"):
        await service_database(own_engine).check_schema()


async def test_upgrades_in_one_process_wait_for_each_other(own_engine: AsyncEngine) -> None:
    await service_database(own_engine).downgrade("base")
    await asyncio.gather(*(service_database(own_engine).upgrade() for _ in range(3)))
    await service_database(own_engine).check_schema()


async def test_the_alembic_command_works_and_several_at_once_are_safe(own_engine: AsyncEngine, own_url: str) -> None:
    await service_database(own_engine).downgrade("base")
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "alembic",
            "upgrade",
            "head",
            cwd=CHECKOUT,
            env={**os.environ, "DATABASE_URL": own_url},
        )
        for _ in range(2)
    ]
    assert [await process.wait() for process in processes] == [0, 0]
    await service_database(own_engine).check_schema()


async def test_migrations_that_cannot_be_written_to_are_one_line(
    own_engine: AsyncEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "100% read-only" / "migrations"
    shutil.copytree(CHECKOUT / "migrations", folder)
    monkeypatch.setattr(database, "_CHECKOUT", folder)

    await service_database(own_engine).downgrade("base")
    await service_database(own_engine).upgrade()
    await service_database(own_engine).check_schema()
    async with own_engine.begin() as connection:
        await connection.execute(text("ALTER TABLE users DROP COLUMN email"))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(EACCES, "Permission denied")

    # Alembic makes the file so; whoever runs the tests may be allowed to write everywhere.
    monkeypatch.setattr("alembic.script.base.ScriptDirectory._generate_template", refuse)
    with pytest.raises(MigrationError, match=r"cannot write to .*migrations: Permission denied"):
        await service_database(own_engine).write_migration("more")


async def test_a_migration_is_written_from_what_the_models_have_more(
    own_engine: AsyncEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "a 100% new checkout"
    shutil.copytree(CHECKOUT / "migrations", checkout / "migrations")
    shutil.copy(CHECKOUT / "pyproject.toml", checkout)
    monkeypatch.setattr(database, "_CHECKOUT", checkout / "migrations")

    # What the models do not have is another program's, or a partition that was made by SQL.
    async with own_engine.begin() as connection:
        for statement in (
            "CREATE TABLE orders (id int PRIMARY KEY, user_id bigint REFERENCES users)",
            "CREATE TABLE events (id int, at date) PARTITION BY RANGE (at)",
            "CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
            "CREATE SCHEMA theirs",
            "CREATE TABLE theirs.users (id int PRIMARY KEY)",
        ):
            await connection.execute(text(statement))
    with pytest.raises(MigrationError, match="nothing to migrate"):
        await service_database(own_engine).write_migration("add nothing")
    async with own_engine.begin() as connection:
        await connection.execute(text("ALTER TABLE users DROP COLUMN email"))
    path = await service_database(own_engine).write_migration("add an email")

    assert path.parent == checkout / "migrations" / "versions"
    assert path.name.endswith("_add_an_email.py")
    assert "drop_table" not in path.read_text().partition("def downgrade")[0]
    with pytest.raises(SchemaOutOfDateError, match="run `kiqstart migrate`"):
        await service_database(own_engine).check_schema()
    await service_database(own_engine).upgrade()
    await service_database(own_engine).check_schema()
    async with own_engine.connect() as connection:
        await connection.execute(text("SELECT email FROM users"))


def at(host: str, port: int) -> Callable[[URL], URL]:
    return lambda url: url.set(host=host, port=port, query={})


UNREACHABLE: list[tuple[Callable[[URL], URL], str]] = [
    (at("127.0.0.1", 1), "connection refused"),
    (at("database.invalid", 5432), r"[Nn]ame|resolution|nodename"),
    (lambda url: url.set(database="no_such_database"), 'database "no_such_database" does not exist'),
    (lambda url: url.set(username="no_such_role"), "no_such_role"),
    (lambda url: url.set(query={"host": "/no/such/directory"}), "No such file or directory"),
]


@pytest.mark.parametrize(("change", "reason"), UNREACHABLE, ids=["refused", "host", "database", "role", "socket"])
async def test_an_unreachable_database_is_one_line_without_the_password(
    session_database_url: str, change: Callable[[URL], URL], reason: str
) -> None:
    url = change(make_url(session_database_url).set(password="hunter2"))
    engine = create_engine(database_settings(url.render_as_string(hide_password=False)))
    for call in ("check_schema", "upgrade"):
        with pytest.raises(
            DatabaseUnavailableError, match=r"^cannot reach PostgreSQL at .* \(DATABASE_URL\): "
        ) as caught:
            await getattr(service_database(engine), call)()
        assert caught.match(reason)
        assert "hunter2" not in str(caught.value)
        assert "\n" not in str(caught.value)
    await engine.dispose()


async def test_a_silent_server_is_given_up(session_database_url: str) -> None:
    # The kernel takes the connection, and nobody ever answers.
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        url = make_url(session_database_url).set(host="127.0.0.1", port=port, query={"sslmode": "disable"})
        settings = database_settings(url.render_as_string(hide_password=False))
        engine = create_engine(settings.model_copy(update={"database_connect_timeout": 0.2}))
        with pytest.raises(DatabaseUnavailableError, match=rf"127\.0\.0\.1:{port}/.*no answer in time"):
            await service_database(engine).check_schema()
        await engine.dispose()
