"""The server: `python -m tests.fork_server.server SOCKET`. It ends when the other end of its socket is closed."""

import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, ModuleType
from typing import Final

from tests.fork_server import HEADER

from kiqstart.late_imports import put_off_admin_middleware

STREAMS: Final = 3
# Packages of kiqstart that are imported with all their modules; the rest is imported by these.
_PACKAGES: Final = (
    "cli",
    "worker",
    "scheduler",
    "broker",
    "database",
    "cleanups",
    "metrics",
    "operations",
    "retention",
)
_LIBRARIES: Final = (
    "aioinject",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.ext.asyncio",
    "sqlalchemy.orm",
    "taskiq.cli.scheduler.run",
    "taskiq.cli.worker.run",
    "uvloop",
)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a process is to be."""

    code: str | None
    module: str | None
    script: str | None
    arguments: list[str]
    environment: dict[str, str]
    folder: str


class Server:
    """Forks for whoever has the other end of the socket."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._replies: dict[int, socket.socket] = {}
        self._wake, self._waker = socket.socketpair()

    def serve(self) -> Request | None:
        """Serve until the socket is closed; in a process that it has forked, return what that is to be."""
        self._waker.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _wake_up)
        with selectors.DefaultSelector() as selector:
            for one in (self._requests, self._wake):
                selector.register(one, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if self._wake in ready:
                    self._wake.recv(1000)
                    self._tell_ends()
                if self._requests in ready:
                    header, descriptors, _, _ = socket.recv_fds(self._requests, HEADER.size, STREAMS + 1)
                    if not header:
                        return None
                    if (request := self._fork(header, descriptors)) is not None:
                        return request

    def _fork(self, header: bytes, descriptors: list[int]) -> Request | None:
        with socket.socket(fileno=os.dup(self._requests.fileno())) as requests, requests.makefile("rb") as file:
            request = Request(**json.loads(file.read(*HEADER.unpack(header))))
        *streams, reply = descriptors
        pid = os.fork()
        if pid == 0:
            self._leave()
            os.setsid()
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
        for stream in streams:
            os.close(stream)
        if pid == 0:
            os.close(reply)
            return request
        self._replies[pid] = socket.socket(fileno=reply)
        self._replies[pid].sendall(f"{pid}\n".encode())
        return None

    def _leave(self) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for one in (self._requests, self._wake, self._waker, *self._replies.values()):
            one.close()

    def _tell_ends(self) -> None:
        for pid, code in _ended():
            # Whoever asked for it may be gone.
            with self._replies.pop(pid) as reply, suppress(OSError):
                reply.sendall(f"{code}\n".encode())


def _wake_up(_: int, __: FrameType | None) -> None:
    """What is waited for is the byte that comes with a signal that has a handler."""


def _ended() -> Iterator[tuple[int, int]]:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, os.waitstatus_to_exitcode(status)


def import_all() -> None:
    """Import what processes of tests import, but no application."""
    put_off_admin_middleware()
    for name in _PACKAGES:
        package = importlib.import_module(f"kiqstart.{name}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            # With tracing comes what few processes have.
            if not {"tracing", "migrations", "__main__"} & {*module.name.split(".")}:
                importlib.import_module(module.name)
    for name in _LIBRARIES:
        importlib.import_module(name)


def be(request: Request) -> None:
    """Run what was asked for, as the main program of this process."""
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.folder)
    time.tzset()
    folder = request.folder if request.script is None else str(Path(request.script).parent)
    sys.path[:0] = [folder, *filter(None, request.environment.get("PYTHONPATH", "").split(os.pathsep))]
    importlib.invalidate_caches()
    sys.argv = [request.script or request.module or "-c", *request.arguments]
    if request.script is not None:
        runpy.run_path(request.script, run_name="__main__")
    elif request.module is not None:
        runpy.run_module(request.module, run_name="__main__", alter_sys=True)
    else:
        sys.modules["__main__"] = main = ModuleType("__main__")
        exec(compile(request.code or "", "<string>", "exec"), vars(main))  # noqa: S102  # the test's own


if __name__ == "__main__":
    # The folder of this checkout; what is forked has its own.
    del sys.path[0]
    import_all()
    gc.collect()
    gc.freeze()
    asked = Server(socket.socket(fileno=int(sys.argv[1]))).serve()
    if asked is not None:
        be(asked)
