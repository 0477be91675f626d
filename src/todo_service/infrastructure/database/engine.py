"""The connection pool and the sessions that work on it."""

import socket
from typing import Any, Final, NoReturn, Protocol

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from kiqstart import SettingsError
from todo_service.infrastructure.database.settings import DatabaseSettings

# How long a connection is idle before the first probe, between probes, how many are not answered, and until data that
# nobody acknowledges is given up (in milliseconds). macOS calls the first otherwise, and the last is Linux's alone.
_OPTIONS: Final = {
    "TCP_KEEPIDLE": 10,
    "TCP_KEEPALIVE": 10,
    "TCP_KEEPINTVL": 5,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 20_000,
}


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


class _Adapter(Protocol):
    @property
    def driver_connection(self) -> Any:  # noqa: ANN401 - asyncpg has no types
        """The driver's own connection."""


def keep_alive(engine: AsyncEngine) -> None:
    """Probe the engine's idle connections, so that those whose other end is gone fail within half a minute."""

    def configure(adapter: _Adapter, _: object) -> None:
        # asyncpg has no public way to its socket, and none to set these.
        transport = getattr(adapter.driver_connection, "_transport", None)
        connected: socket.socket | None = transport.get_extra_info("socket") if transport is not None else None
        if connected is not None and connected.family in {socket.AF_INET, socket.AF_INET6}:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in _OPTIONS.items():
                if (option := getattr(socket, name, None)) is not None:
                    connected.setsockopt(socket.IPPROTO_TCP, option, value)

    event.listen(engine.sync_engine, "connect", configure)
