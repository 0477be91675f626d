"""The parent of several workers: starts them, starts anew what dies, and ends them all.

Imported in a process that stays small and starts quickly: the standard library only, and little of that.
"""

import os
import select
import signal
import time
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, Final

from kiqstart.errors import print_error
from kiqstart.processes.child import Child, End
from kiqstart.processes.ending import SECONDS_OF_ONE_REQUEST, take_ending_signals
from kiqstart.worker.options import WorkerOptions

if TYPE_CHECKING:
    from kiqstart.worker.group_port import GroupPort

# What a worker takes at its end at most, beside the times that are in its options: Redis has so long to take what is
# done (the default send deadline), and some more to take back what is not.
_SECONDS_TO_SETTLE: Final = 35.0
_SECONDS_TO_GIVE_BACK: Final = 5.0


class Group:
    """Several workers in processes of their own, as many as the options say.

    One that dies is started anew, after a pause that grows where it dies soon again and again; one that has ended by
    itself, at once. Where one cannot start by a mistake that only the operator can mend, all end; so they do where
    Redis is away when the first one of a place starts, and not later.

    Args:
        arguments: those of the command line, for each of the workers.
        default_broker: the broker where they name none.
    """

    def __init__(self, options: WorkerOptions, arguments: Sequence[str], default_broker: str | None) -> None:
        self._options = options
        self._port = _port_of(options)
        listeners = [None] * options.workers if self._port is None else self._port.private
        self._children = [
            Child(number, default_broker or "", arguments, listener) for number, listener in enumerate(listeners)
        ]
        self._requests: list[int] = []
        self._obeyed = 0
        self._requested_at = 0.0
        self._ends = 0
        self._exit_code: int | None = None
        self._kill_at: float | None = None

    def run(self) -> int:
        """Run them until all have ended, and return the exit code: 0 if they were asked to."""
        wake_up = self._take_signals()
        if self._port is None:
            return self._run(wake_up)
        self._port.start(self._children)
        try:
            return self._run(wake_up)
        finally:
            self._port.stop()

    def _run(self, wake_up: int) -> int:
        while True:
            self._start_what_is_due()
            self._wait(wake_up)
            self._obey()
            for child in self._children:
                end = child.take_end()
                if end is not None and self._exit_code is None:
                    self._replace(child, end)
            if self._exit_code is not None and not any(child.is_running for child in self._children):
                return self._exit_code
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                self._kill()

    def _take_signals(self) -> int:
        reader, writer = os.pipe()
        for end in (reader, writer):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        # A signal without a handler wakes nobody.
        signal.signal(signal.SIGCHLD, lambda _, __: None)
        take_ending_signals(self._on_signal)
        return reader

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        if not self._requests or now - self._requested_at > SECONDS_OF_ONE_REQUEST:
            self._requests.append(number)
            self._requested_at = now

    def _wait(self, wake_up: int) -> None:
        times = [at for at in (self._kill_at, *(child.start_at for child in self._children)) if at is not None]
        timeout = max(0.0, min(times) - time.monotonic()) if times else None
        if select.select([wake_up], [], [], timeout)[0]:
            os.read(wake_up, select.PIPE_BUF)

    def _obey(self) -> None:
        while self._obeyed < len(self._requests):
            number = self._requests[self._obeyed]
            self._obeyed += 1
            if self._obeyed == 1:
                self._end(0)
            elif self._obeyed == 2:  # noqa: PLR2004  # the second one
                self._end_at_once(128 + number)
            else:
                self._kill()

    def _start_what_is_due(self) -> None:
        for child in self._children:
            if child.start_at is not None and child.start_at <= time.monotonic():
                try:
                    child.start()
                except OSError as error:
                    self._start_later(child, f"could not be started ({error.strerror})", has_failed=True)

    def _replace(self, child: Child, end: End) -> None:
        self._ends += 1
        if end.complaint:
            print_error(end.complaint)
            self._end(1)
        elif 0 < self._options.max_fails <= self._ends:
            print_error(f"{child.name} {end}, the last end that --max-fails {self._options.max_fails} allows")
            self._end(1)
        else:
            self._start_later(child, str(end), has_failed=end.code != 0)

    def _start_later(self, child: Child, problem: str, *, has_failed: bool) -> None:
        pause = child.start_later(has_failed=has_failed)
        if has_failed:
            print_error(f"{child.name} {problem}; it is started anew in {pause:g} s")

    def _end(self, exit_code: int) -> None:
        if self._exit_code is None:
            self._exit_code = exit_code
        for child in self._children:
            child.ask_to_end()
        if self._options.wait_tasks_timeout is not None:
            self._kill_after(self._options.wait_tasks_timeout + self._options.shutdown_timeout + _SECONDS_TO_SETTLE)

    def _end_at_once(self, exit_code: int) -> None:
        self._exit_code = self._exit_code or exit_code
        for child in self._children:
            child.end_at_once()
        self._kill_after(self._options.shutdown_timeout + _SECONDS_TO_GIVE_BACK)

    def _kill_after(self, seconds: float) -> None:
        self._kill_at = time.monotonic() + seconds

    def _kill(self) -> None:
        self._kill_at = None
        self._exit_code = self._exit_code or 1
        for child in self._children:
            if child.is_running:
                print_error(f"{child.name} does not end and is killed")
                child.kill()


def _port_of(options: WorkerOptions) -> "GroupPort | None":
    if options.port is None:
        return None
    from kiqstart.worker.group_port import GroupPort

    return GroupPort(options.host, options.port, workers=options.workers)
