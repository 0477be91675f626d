"""`kiqstart migrate` and `kiqstart migration`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from kiqstart.cli.terminal import echo, shown
from kiqstart.settings import load_settings
from todo_service.delivery.tasks.rights import WORKER_RIGHTS
from todo_service.infrastructure.database import schema
from todo_service.infrastructure.database.engine import create_engine
from todo_service.infrastructure.database.settings import DatabaseSettings

T = TypeVar("T")


def run_migrate(*, to: str, down: str | None, worker_role: str | None = None) -> None:
    """Upgrade the schema to `to`, or downgrade it to `down` where that is given.

    Args:
        to: a revision.
        down: a revision.
        worker_role: gets the least rights that a worker needs, after an upgrade.
    """
    if down is None:
        asyncio.run(_with_engine(lambda engine: schema.upgrade(engine, to)))
        echo(f"The schema is at {to}." if to != "head" else "The schema is up to date.")
        if worker_role is not None:
            asyncio.run(_with_engine(lambda engine: schema.grant(engine, worker_role, WORKER_RIGHTS)))
            echo(f"The role {shown(worker_role)} may do what a worker needs.")
    else:
        asyncio.run(_with_engine(lambda engine: schema.downgrade(engine, down)))
        echo(f"The schema has gone down to {down}.")


def run_migration(name: str) -> None:
    """Write a migration, and say where it is."""
    path = asyncio.run(_with_engine(lambda engine: schema.write_migration(engine, name)))
    echo(f"{path}: read it, complete it, then run `make migrate`")


async def _with_engine(work: Callable[[AsyncEngine], Awaitable[T]]) -> T:
    engine = create_engine(load_settings(DatabaseSettings))
    try:
        return await work(engine)
    finally:
        await engine.dispose()
