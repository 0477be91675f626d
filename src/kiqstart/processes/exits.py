"""Ending the processes that `taskiq worker`, `taskiq scheduler` and `kiqstart worker` start."""

import asyncio
import fcntl
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar, Final, NoReturn

from kiqstart.errors import OperatorError, print_error
from kiqstart.observability.redaction import redact

_SECONDS_TO_END: Final = 1.0
_POLL_SECONDS: Final = 0.01


class _Reports:
    parent: ClassVar[socket.socket | None] = None


@contextmanager
def exit_on_operator_error() -> Generator[None]:
    """Turn an `OperatorError` into its one line on standard error and exit code 1."""
    try:
        yield
    except OperatorError as error:
        exit_with(error)


def exit_with(error: OperatorError) -> NoReturn:
    """Print the error's line and end this process; in a worker also the manager, which would only start it again.

    The workers of one manager fail alike and at once; the first of them prints the line for all. A manager that reloads
    goes on, as the next save may mend it. Where `report_to` names a parent, that prints it and ends the others.
    """
    if _Reports.parent is not None:
        with suppress(OSError):
            _Reports.parent.sendall(redact(str(error)).encode(errors="backslashreplace"))
        raise SystemExit(1)
    manager = multiprocessing.parent_process()
    if manager is None or manager.pid is None or not multiprocessing.current_process().name.startswith("worker-"):
        print_error(error)
    else:
        with Path(__file__).open("rb") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            if os.getppid() == manager.pid:
                print_error(error)
                # Its workers have its arguments.
                if "--reload" not in sys.argv and "-r" not in sys.argv:
                    _end_process_manager(manager.pid)
    raise SystemExit(1)


def report_to(parent: socket.socket) -> None:
    """Let `exit_with` send its line to the process that started this one, instead of printing it."""
    _Reports.parent = parent


def end_with_process_manager() -> None:
    """Let this worker shut down when its process manager has vanished (`kill -9`), instead of living on unwatched.

    Call it in the worker's event loop; it does nothing elsewhere.
    """
    manager = multiprocessing.parent_process()
    if manager is None:
        return
    loop = asyncio.get_running_loop()

    def end() -> None:
        loop.remove_reader(manager.sentinel)
        # SIGINT may be ignored, as by what a shell has started in the background.
        os.kill(os.getpid(), signal.SIGTERM)

    loop.add_reader(manager.sentinel, end)


def _end_process_manager(pid: int) -> None:
    # taskiq's manager exits with 0 for the signals that it handles, so it is ended by one that it does not. Only where
    # that has no effect (it is process 1 of a container) does it get a SIGTERM.
    os.kill(pid, signal.SIGUSR1)
    deadline = time.monotonic() + _SECONDS_TO_END
    while os.getppid() == pid and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    if os.getppid() == pid:
        os.kill(pid, signal.SIGTERM)
