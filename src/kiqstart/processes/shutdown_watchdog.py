"""Ends a worker whose event loop is blocked, when its time to end is over."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from logging import getLogger
from queue import SimpleQueue
from typing import Final

logger = getLogger(__name__)

# So long an event loop may take to answer, time and again, before it counts as blocked.
_SECONDS_FOR_AN_ANSWER: Final = 3.0
_SECONDS_BETWEEN_LOOKS: Final = 1.0


class ShutdownWatchdog:
    """A thread that waits for a shutdown; if the event loop is blocked beyond the grace period, the process ends.

    What a blocked loop has in hand it can neither end nor give back. The request comes with a signal, whose handler
    Python runs in the main thread and between two of its own instructions: a loop in Python and `time.sleep` let it in,
    a call in C that does not return lets it in when it returns.

    Args:
        loop: the event loop that is watched.
        grace: seconds that running tasks have from the request on.
        give_back: gives to other workers what this one has; is called in the thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, grace: float, give_back: Callable[[], None]) -> None:
        self._loop = loop
        self._grace = grace
        self._give_back = give_back
        self._requests: SimpleQueue[bool] = SimpleQueue()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shutdown-watchdog", daemon=True)
        self._thread.start()

    def request(self) -> None:
        """The worker is to end from now on. May be called in a signal's handler, which must not wait for a lock."""
        self._requests.put(True)

    def stop(self) -> None:
        """The worker has ended by itself."""
        self._is_over.set()
        self._requests.put(False)

    def _run(self) -> None:
        if not self._requests.get() or self._is_over.wait(self._grace):
            return
        while self._answers():
            if self._is_over.wait(_SECONDS_BETWEEN_LOOKS):
                return
        if not self._is_over.is_set():
            self._end()

    def _answers(self) -> bool:
        answered = threading.Event()
        try:
            self._loop.call_soon_threadsafe(answered.set)
        except RuntimeError:  # it is closed
            self._is_over.set()
            return True
        return answered.wait(_SECONDS_FOR_AN_ANSWER)

    def _end(self) -> None:
        logger.error("A task blocks the event loop %g s after its time to end: this process ends now", self._grace)
        try:
            self._give_back()
        except Exception as error:  # noqa: BLE001  # it ends all the same, and others get its tasks a lease later
            logger.warning("Its tasks stay until this worker's lease ends: %s", error)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
