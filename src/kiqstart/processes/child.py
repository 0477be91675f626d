"""A worker, as its parent sees it."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kiqstart.processes.ending import AT_ONCE

_MEMBER: Final = "kiqstart.worker.worker_process"
_LONGEST_LINE: Final = 2**16
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
# One that has run for so long has not died of how it starts.
_SECONDS_OF_A_GOOD_START: Final = 10.0


@dataclass(frozen=True, kw_only=True)
class End:
    """How a process has ended.

    Args:
        code: its exit code; a signal's number, negative.
        complaint: the line for the operator, where it could not start by a mistake of theirs; or empty.
    """

    code: int
    complaint: str

    def __str__(self) -> str:
        return (
            f"was killed by {signal.Signals(-self.code).name}" if self.code < 0 else f"ended with exit code {self.code}"
        )


class Child:
    """A place for a worker process, and the process that has it.

    Args:
        number: of the place; its processes are called `worker-NUMBER`.
        default_broker: the broker where the arguments name none, or empty.
        arguments: the worker's.
        listener: where its processes answer their parent, one after the other; None: nowhere.
    """

    def __init__(
        self, number: int, default_broker: str, arguments: Sequence[str], listener: socket.socket | None = None
    ) -> None:
        self.name = f"worker-{number}"
        self.start_at: float | None = 0.0
        self._number = str(number)
        self._is_first = True
        self._arguments = [default_broker, *arguments]
        self._listener = listener
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self.started_at = 0.0
        """When the process was started, by `time.monotonic`."""
        self._bad_starts = 0

    @property
    def is_running(self) -> bool:
        """Whether there is a process, as far as `take_end` has told."""
        return self._process is not None

    def start(self) -> None:
        """Start a process.

        Raises:
            OSError: the system has no room for it.
        """
        self.start_at = None
        self.started_at = time.monotonic()
        self._connection, theirs = socket.socketpair()
        with theirs:
            passed = [one.fileno() for one in (theirs, self._listener) if one is not None]
            listener = "" if self._listener is None else str(self._listener.fileno())
            which = [str(theirs.fileno()), listener, self._number, "1" if self._is_first else "0"]
            command = [sys.executable, "-m", _MEMBER, *which, *self._arguments]
            self._process = subprocess.Popen(command, pass_fds=passed)
        self._is_first = False

    def start_later(self, *, has_failed: bool) -> float:
        """Have a process started anew; return the seconds until then: 0 where the last one has not failed."""
        now = time.monotonic()
        if not has_failed or now - self.started_at > _SECONDS_OF_A_GOOD_START:
            self._bad_starts = 0
        pause = min(_FIRST_PAUSE * 2.0**self._bad_starts, _LONGEST_PAUSE) if has_failed else 0.0
        self._bad_starts += has_failed
        self.start_at = now + pause
        return pause

    def take_end(self) -> End | None:
        """How the process has ended, told once; None while it runs."""
        code = self._process.poll() if self._process is not None else None
        if code is None:
            return None
        self._process = None
        return End(code=code, complaint=self._last_words())

    def ask_to_end(self) -> None:
        """Let it end once its tasks have, or its time for that is over."""
        self.start_at = None
        self._signal(signal.SIGTERM)

    def end_at_once(self) -> None:
        """Let it give back its tasks and end."""
        if self._connection is not None and self._process is not None:
            self._connection.send(AT_ONCE)

    def kill(self) -> None:
        """End it in the middle of whatever it does."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _last_words(self) -> str:
        if self._connection is None:
            return ""
        with self._connection as connection:
            # Its own processes may have kept their end open.
            connection.setblocking(False)
            self._connection = None
            try:
                return connection.recv(_LONGEST_LINE).decode(errors="replace")
            except OSError:
                return ""
