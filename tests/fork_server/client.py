"""What tests ask the server for."""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import IO, Any, Final, cast

from tests.fork_server import HEADER
from tests.planted_secrets import check_printed_by

from kiqstart.testing import ProcessFactory, ServiceProcess

_ROOT: Final = Path(__file__).parents[2]


class ForkedProcess:
    """A process that the server has forked, with those methods of `subprocess.Popen` that are used here."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        streams: Sequence[int],
    ) -> None:
        self.args = command
        self.returncode: int | None = None
        self._reply, theirs = socket.socketpair()
        with theirs:
            _ask(command, environment, folder, [*streams, theirs.fileno()])
        self._lines = b""
        self.pid = int(self._next_line(None) or 0)

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        try:
            return self.wait(0.0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end.

        Raises:
            TimeoutExpired: it has not come in `timeout` seconds.
        """
        if self.returncode is None:
            line = self._next_line(timeout)
            if line is None:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            self.returncode = int(line)
            self._reply.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def _next_line(self, timeout: float | None) -> str | None:
        until = None if timeout is None else time.monotonic() + timeout
        while b"\n" not in self._lines:
            self._reply.settimeout(None if until is None else max(until - time.monotonic(), 0.0))
            try:
                found = self._reply.recv(100)
            except (TimeoutError, BlockingIOError):
                return None
            if not found:
                raise ConnectionError("the server that forks has ended")
            self._lines += found
        line, _, self._lines = self._lines.partition(b"\n")
        return line.decode()


@dataclass(frozen=True, kw_only=True)
class ForkingFactory(ProcessFactory):
    """A `ProcessFactory` whose processes are forked."""

    def start(self, *arguments: str, environment: Mapping[str, str] | None = None) -> ServiceProcess:
        log_file = self.log_folder / f"{time.monotonic_ns()}.log"
        with log_file.open("wb") as log, Path(os.devnull).open("rb") as nothing:
            process = ForkedProcess(
                [*self.command, *arguments],
                environment={**os.environ, **self.environment, **(environment or {})},
                folder=Path.cwd(),
                streams=[nothing.fileno(), log.fileno(), log.fileno()],
            )
        return ServiceProcess(cast("subprocess.Popen[bytes]", process), log_file)


def forking(factory: ProcessFactory) -> ForkingFactory:
    """The same, with processes that are forked."""
    return ForkingFactory(**_parts(factory))


def start_anew(factory: ProcessFactory) -> ProcessFactory:
    """The same, with processes that import all by themselves."""
    return ProcessFactory(**_parts(factory))


def _parts(factory: ProcessFactory) -> dict[str, Any]:
    return {field.name: getattr(factory, field.name) for field in fields(ProcessFactory)}


def run_forked(
    command: Sequence[str], *, environment: Mapping[str, str], folder: Path, stdin: str = "", timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, as `subprocess.run` does.

    Raises:
        TimeoutExpired: the end has not come in `timeout` seconds; the process is killed then.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin.encode())
        given.seek(0)
        streams = [given.fileno(), out.fileno(), err.fileno()]
        process = ForkedProcess(command, environment=environment, folder=folder, streams=streams)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            raise
        done = subprocess.CompletedProcess(list(command), code, _read(out), _read(err))
    check_printed_by(command, done.stdout, done.stderr)
    return done


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode().replace("\r\n", "\n")


def _ask(command: Sequence[str], environment: Mapping[str, str], folder: Path, descriptors: list[int]) -> None:
    program, *arguments = command
    kind, what = "script", program
    if program == sys.executable:
        kind = {"-m": "module", "-c": "code"}[arguments[0]]
        _, what, *arguments = arguments
    named = {"code": None, "module": None, "script": None, kind: what}
    request = {**named, "arguments": arguments, "environment": dict(environment), "folder": str(folder)}
    body = json.dumps(request).encode()
    server = _server()
    socket.send_fds(server, [HEADER.pack(len(body))], descriptors)
    server.sendall(body)


@cache
def _server() -> socket.socket:
    """The server of this process, which ends with it."""
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-m", "tests.fork_server.server", str(theirs.fileno())]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        process = subprocess.Popen(
            command,
            cwd=_ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours
