"""An event for one waiting thread that a signal's handler may set."""

from contextlib import suppress
from queue import Empty, SimpleQueue


class SignalSafeEvent:
    """Wakes a thread; each wait takes all that was set before.

    `threading.Event.set` holds a lock: a handler that interrupts it and calls it too would wait for itself for ever.
    `SimpleQueue.put` is documented as reentrant.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """Wake the thread that waits, or let its next wait return at once."""
        self._calls.put(None)

    def wait(self, seconds: float) -> None:
        """Return once it is set, or after so many seconds."""
        with suppress(Empty):
            self._calls.get(timeout=seconds)
            while True:
                self._calls.get_nowait()
