"""Tells long tasks that the worker was asked to end."""

import asyncio
import signal
from types import FrameType


class ShutdownSignal:
    """Set once this process has received SIGTERM or SIGINT, so that a task can stop at a good moment.

    taskiq tells its tasks nothing: it waits for them, for ever or for `--wait-tasks-timeout` seconds.
    """

    def __init__(self) -> None:
        self.event = asyncio.Event()

    def listen(self) -> None:
        """Take notice of the signals beside the handlers that are there; call it in the main thread's event loop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            known = signal.getsignal(number)

            def notice(signum: int, frame: FrameType | None, known: object = known) -> None:
                # Wakes an idle loop too, which the handlers' own flags do not.
                loop.call_soon_threadsafe(self.event.set)
                if callable(known):
                    known(signum, frame)

            signal.signal(number, notice)
