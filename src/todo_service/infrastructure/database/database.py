"""The service's database: its tables, and where its migrations are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from kiqstart import AlembicDatabase, load_settings
from todo_service.infrastructure.database.base import Base
from todo_service.infrastructure.database.settings import SchemaSettings

_CHECKOUT: Final = Path(__file__).parents[4] / "migrations"
_NONE: Final[Mapping[str, Sequence[str]]] = MappingProxyType({})


def service_database(engine: AsyncEngine, worker_rights: Mapping[str, Sequence[str]] = _NONE) -> AlembicDatabase:
    """What commands and fixtures ask of it.

    Args:
        engine: connects to it.
        worker_rights: the least that the role of a worker needs, by table.
    """
    return AlembicDatabase(
        engine=engine,
        migrations=_CHECKOUT,
        tables=[Base.metadata],
        version_table=load_settings(SchemaSettings).database_version_table,
        worker_rights=worker_rights,
    )
