"""`kiqstart migrate` and `kiqstart migration`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from kiqstart.app import Database
from kiqstart.cli.application import unconnected_application
from kiqstart.cli.terminal import echo, shown
from kiqstart.errors import OperatorError

T = TypeVar("T")


class RetentionMigrationError(OperatorError):
    """PostgreSQL refuses to make the retention engine's tables."""


def run_migrate(*, to: str, down: str | None, worker_role: str | None = None) -> None:
    """Upgrade the schema to `to`, or downgrade it to `down` where that is given.

    Args:
        to: a revision.
        down: a revision.
        worker_role: gets the least rights that a worker needs, after an upgrade.
    """
    if down is None:
        _run(lambda database: database.upgrade(to))
        if to == "head" and unconnected_application().retention is not None:
            asyncio.run(_migrate_retention())
        echo(f"The schema is at {to}." if to != "head" else "The schema is up to date.")
        if worker_role is not None:
            _run(lambda database: database.grant(worker_role))
            echo(f"The role {shown(worker_role)} may do what a worker needs.")
    else:
        _run(lambda database: database.downgrade(down))
        echo(f"The schema has gone down to {down}.")


def run_retention_migrate() -> None:
    """Bring the retention engine's own tables up to date."""
    asyncio.run(_migrate_retention())
    echo("The retention engine's tables are up to date.")


def run_migration(name: str) -> None:
    """Write a migration, and say where it is."""
    path = _run(lambda database: database.write_migration(name))
    echo(f"{path}: read it, complete it, then run `kiqstart migrate`")


async def _migrate_retention() -> None:
    app = unconnected_application()
    try:
        await app.needs_retention().migrate()
    except DBAPIError as error:
        said = " ".join(str(error.orig).split())[:300]
        raise RetentionMigrationError(f"the retention engine's tables cannot be made: {said}") from None
    finally:
        await app.close()


def _run(work: Callable[[Database], Awaitable[T]]) -> T:
    async def run() -> T:
        app = unconnected_application()
        try:
            return await work(app.needs_database())
        finally:
            await app.close()

    return asyncio.run(run())
