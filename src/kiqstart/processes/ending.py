"""The signals that end a worker."""

import os
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio
    import socket

ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
AT_ONCE: Final = b"!"
"""What the parent of several workers writes to one that is to end at once; its end is an end of file."""

# One request may come as several signals: a terminal and `timeout` signal the whole group, and its members pass it on.
SECONDS_OF_ONE_REQUEST: Final = 0.3
_SECONDS_BETWEEN_CANCELS: Final = 0.05


class EarlyEnd:
    """Ends this process at once on SIGTERM or Ctrl-C, for as long as it has begun nothing that must be ended in order.

    Without it the first process of a container ignores SIGTERM while it imports what it needs.

    Args:
        code: the exit code.
    """

    def __init__(self, code: int) -> None:
        self._code = code

    def take_signals(self) -> None:
        """Take them until somebody else does."""
        signal.signal(signal.SIGTERM, self)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self)

    def __call__(self, _: int, __: FrameType | None) -> None:
        """End."""
        os._exit(self._code)


def is_taken(number: signal.Signals) -> bool:
    """Whether a signal has a handler that is to stay."""
    return signal.getsignal(number) is not signal.SIG_DFL and not isinstance(signal.getsignal(number), EarlyEnd)


def take_ending_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    """Have `handler` called at the signals that end a worker, but for those that are ignored."""
    for number in ENDING:
        # `nohup` starts a program with SIGHUP ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


class Ending:
    """Takes the signals of this process, and the orders of its parent where it has one.

    The first signal asks for an end, which lets running tasks finish; a second one ends it at once, with what still
    runs given back; a third one kills. Of signals alone a worker with a parent never ends at once: the parent counts.
    """

    def __init__(self, parent: "socket.socket | None" = None) -> None:
        self._parent = parent
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_first: Callable[[], None] | None = None
        self._listening: asyncio.Task[Any] | None = None
        self._requests = 0
        self._last_at = 0.0
        self._exit_code: int | None = None
        self.cut_by: int | None = None

    def take_signals(self) -> None:
        """Take them from now on. Until `attach` is called nothing runs, and a signal simply exits."""
        take_ending_signals(self._on_signal)

    def attach(self, on_first: Callable[[], None]) -> None:
        """Call `on_first` in this event loop when the worker is to end, and cancel this task when that is to be now.

        Raises:
            SystemExit: it was to end before.
        """
        import asyncio

        if self._exit_code is not None:
            raise SystemExit(self._exit_code)
        self._on_first = on_first
        self._listening = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        if self._parent is not None:
            self._loop.add_reader(self._parent, self._on_order, self._parent)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self._loop is None:
            # Python drops it where it is raised in a destructor, as one may run at any time.
            self._exit_code = 128 + number
            raise SystemExit(self._exit_code)
        now = time.monotonic()
        if self._requests and (self._parent is not None or now - self._last_at < SECONDS_OF_ONE_REQUEST):
            return
        self._requests += 1
        self._last_at = now
        if self._requests == 1 and self._on_first is not None:
            self._loop.call_soon_threadsafe(self._on_first)
        elif self._requests == 2:  # noqa: PLR2004  # the second one
            self._loop.call_soon_threadsafe(self._cut, number)
        else:
            # The event loop is blocked, or it would have ended.
            os._exit(128 + number)

    def _on_order(self, parent: "socket.socket") -> None:
        if parent.recv(1) == AT_ONCE:
            self._cut(signal.SIGTERM)
        elif self._loop is not None:
            # The parent has vanished (`kill -9`). A signal tells everybody who listens for one.
            self._loop.remove_reader(parent)
            # SIGINT may be ignored, as by what a shell has started in the background.
            os.kill(os.getpid(), signal.SIGTERM)

    def _cut(self, number: int) -> None:
        self.cut_by = number
        # Again until it has ended: what is cancelled may go on to wait for running tasks.
        if self._loop is not None and self._listening is not None and not self._listening.done():
            self._listening.cancel()
            self._loop.call_later(_SECONDS_BETWEEN_CANCELS, self._cut, number)
