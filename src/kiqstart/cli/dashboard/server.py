"""The dashboard's server, which ends in order on a signal: streams at once, requests within seconds."""

import asyncio
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from kiqstart.dashboard.streams import Streams

_SECONDS_TO_END: Final = 5


class DashboardServer(uvicorn.Server):
    """Serves until SIGTERM or Ctrl-C; a second signal lets it wait for nothing."""

    def __init__(self, dashboard: ASGIApp, streams: Streams) -> None:
        super().__init__(
            uvicorn.Config(
                dashboard,
                log_config=None,
                access_log=False,
                # Whom it believes about the browser is its own affair.
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=_SECONDS_TO_END,
            )
        )
        self._streams = streams

    def run_on(self, listener: socket.socket) -> None:
        """Serve there until a signal."""
        asyncio.run(self.serve([listener]))

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Take the signals; uvicorn would send itself each of them again at the end, and so fail."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._end)
        yield

    def _end(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True
        self._streams.close()
