"""Connections that find out by themselves when the network has gone silent."""

import socket
from typing import Any, Final, Protocol

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

# Seconds without traffic before the first probe, between probes, and until data that nobody acknowledges is given up.
_IDLE: Final = 10
_BETWEEN: Final = 5
_PROBES: Final = 3
_UNACKNOWLEDGED: Final = 20

# By the names that the operating system has: macOS calls the first otherwise, and the last is Linux's alone.
_OPTIONS: Final = {
    "TCP_KEEPIDLE": _IDLE,
    "TCP_KEEPALIVE": _IDLE,
    "TCP_KEEPINTVL": _BETWEEN,
    "TCP_KEEPCNT": _PROBES,
    "TCP_USER_TIMEOUT": _UNACKNOWLEDGED * 1000,
}


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
