"""The connection pool and the sessions that work on it."""

from typing import NoReturn

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from kiqstart import SettingsError
from todo_service.infrastructure.database.keepalive import keep_alive
from todo_service.infrastructure.database.settings import DatabaseSettings


def create_engine(settings: DatabaseSettings) -> AsyncEngine:
    """Make a pool that connects when it is first used; whoever makes it disposes of it.

    Its sessions speak UTC, and PostgreSQL lists them under the name `kiqstart`. A connection whose network is silent
    fails by itself.
    """
    parsed = settings.parsed_url()
    engine = create_async_engine(
        parsed.url,
        **({"async_creator": _complain} if settings.database_url is None else {}),
        pool_size=settings.database_pool_size,
        max_overflow=settings.database_pool_size,
        # Connections that a restarted server closed are replaced before they are handed out.
        pool_pre_ping=True,
        # An error would quote them, and rows are nobody's business who reads a log.
        hide_parameters=True,
        connect_args={
            **parsed.connect_arguments,
            "timeout": settings.database_connect_timeout,
            "server_settings": {"timezone": "UTC", "application_name": "kiqstart"},
        },
    )
    keep_alive(engine)
    return engine


async def _complain() -> NoReturn:
    # Only what connects needs it: a program that sends tasks, or looks at a queue, does not.
    raise SettingsError("settings: DATABASE_URL is not set (.env.example describes every setting)")


def create_session_factory(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    """Make sessions whose objects stay readable after the commit, as no attribute can be loaded later by itself."""
    return async_sessionmaker(engine, expire_on_commit=False)
