"""The shop as one object: what `kiqstart` and the fixtures of its tests are told of it."""

from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine
from taskiq import TaskiqScheduler

from kiqstart import AlembicDatabase, App
from kiqstart.broker import check_at_start
from kiqstart.retention import RetentionPolicies
from shop.container import create_container
from shop.models import Base
from shop.tasks import TasksRegistry

MIGRATIONS = Path(__file__).parents[1] / "migrations"


def create_app() -> App:
    """Build it; settings come from the environment and `.env`."""
    parts = create_container().root
    registry = parts.resolve(TasksRegistry)
    database = AlembicDatabase(engine=parts.resolve(AsyncEngine), migrations=MIGRATIONS, tables=[Base.metadata])
    # A worker whose schema is behind ends with one line.
    check_at_start(registry.broker, database.check)
    return App(
        broker=registry.broker,
        registry=registry,
        scheduler=parts.resolve(TaskiqScheduler),
        retention=parts.resolve(RetentionPolicies),
        database=database,
    )
