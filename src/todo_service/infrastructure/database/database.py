"""The service's database: its tables, and where its migrations are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from kiqstart import AlembicDatabase, load_settings
from kiqstart.retention import RetentionBase
from todo_service.infrastructure.database.base import Base
from todo_service.infrastructure.database.settings import SchemaSettings

_PACKAGE: Final = Path(__file__).parents[2]
# Where the package is installed; else it is a checkout.
_INSTALLED: Final = _PACKAGE / "_migrations"
_CHECKOUT: Final = _PACKAGE.parents[1] / "migrations"
_NONE: Final[Mapping[str, Sequence[str]]] = MappingProxyType({})


def service_database(engine: AsyncEngine, worker_rights: Mapping[str, Sequence[str]] = _NONE) -> AlembicDatabase:
    """What commands and fixtures ask of it.

    Args:
        engine: connects to it.
        worker_rights: the least that the role of a worker needs, by table.
    """
    is_installed = _INSTALLED.is_dir()
    return AlembicDatabase(
        engine=engine,
        migrations=_INSTALLED if is_installed else _CHECKOUT,
        tables=[Base.metadata, RetentionBase.metadata],
        version_table=load_settings(SchemaSettings).database_version_table,
        worker_rights=worker_rights,
        is_checkout=not is_installed,
    )
