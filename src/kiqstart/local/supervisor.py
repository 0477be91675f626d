"""The process that has one server as its child, from the first user's arrival to the last one's end."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from kiqstart.local.account import make_socket_folder
from kiqstart.local.errors import LocalStackError
from kiqstart.local.locks import FileLock
from kiqstart.local.log import read_last_line
from kiqstart.local.server import Command, Server
from kiqstart.local.state import State

_START_SECONDS = 45.0
_POLL_SECONDS = 0.03
_WATCH_SECONDS = 0.1
# The signals that end a server, each with the seconds that it gets: orderly, at once, by force.
_STOP = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 3.0), (signal.SIGKILL, 3.0))
_PR_SET_PDEATHSIG = 1


class _UnwantedError(Exception):
    """Nobody is left who uses the server, or the supervisor was told to end."""


class Supervisor:
    """Runs `server` until it gets `users.lock` in `folder`, which it then holds until all is cleared away."""

    def __init__(self, server: Server, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._users = FileLock(folder / "users.lock")
        # Every process of the server inherits this lock: see `recover`.
        self._server_lock = FileLock(folder / "server.lock")
        self._told_to_end = False
        self._end_with_parent = _end_with_parent()

    def run(self) -> None:
        """Return when the server has ended and nothing of it is left but its data.

        Raises:
            LocalStackError: it did not start, or ended by itself.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        if not self._server_lock.try_exclusive():
            raise LocalStackError(f"{self._folder}: another server runs there")
        sockets = make_socket_folder(self._server.account)
        state = State(supervisor=os.getpid(), sockets=str(sockets), description=self._server.description)
        try:
            state.write(self._folder)
            self._server.prepare(self._run_to_end)
            self._serve(state, sockets)
        except _UnwantedError:
            pass
        finally:
            state.remove(self._folder)

    def _serve(self, state: State, sockets: Path) -> None:
        command = self._server.command(sockets)
        process = self._start(command)
        answers = False
        deadline = time.monotonic() + _START_SECONDS
        try:
            state = replace(state, server=process.pid)
            state.write(self._folder)
            while process.poll() is None:
                self._raise_unless_wanted()
                if not answers and self._server.answers(sockets):
                    answers = True
                    replace(state, url=self._server.url(sockets)).write(self._folder)
                if not answers and time.monotonic() > deadline:
                    raise LocalStackError(f"no answer within {_START_SECONDS:.0f} s")
                time.sleep(_WATCH_SECONDS if answers else _POLL_SECONDS)
            raise self._ended(process, command)
        finally:
            with suppress(FileNotFoundError):  # somebody deleted the folder
                state.write(self._folder)
            _stop(process)

    def _run_to_end(self, command: Command) -> None:
        process = self._start(command, group=0)
        try:
            while process.poll() is None:
                self._raise_unless_wanted()
                time.sleep(_POLL_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.returncode:
            raise self._ended(process, command)

    def _raise_unless_wanted(self) -> None:
        if self._told_to_end or self._users.try_exclusive():
            raise _UnwantedError

    def _start(self, command: Command, group: int | None = None) -> subprocess.Popen[bytes]:
        account = command.account
        process = subprocess.Popen(
            [str(argument) for argument in command.arguments],
            cwd=command.folder,
            env=command.environment,
            stdin=subprocess.PIPE if command.stdin else subprocess.DEVNULL,
            pass_fds=(self._server_lock.fileno(),),
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            process_group=group,
            preexec_fn=self._end_with_parent,  # noqa: PLW1509  # this process has one thread
        )
        if process.stdin:
            with process.stdin, suppress(BrokenPipeError):
                process.stdin.write(command.stdin.encode())
        return process

    def _on_signal(self, *_: object) -> None:
        self._told_to_end = True

    def _ended(self, process: subprocess.Popen[bytes], command: Command) -> LocalStackError:
        program = Path(command.arguments[0]).name
        last_line = read_last_line(self._folder)
        return LocalStackError(f"{program} ended with status {process.returncode}: {last_line}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number, seconds in _STOP:
        process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return


def _end_with_parent() -> Callable[[], object] | None:
    """What makes a child end in order when its supervisor is killed, on Linux; elsewhere `recover` ends it."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT))
