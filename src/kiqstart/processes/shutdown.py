"""Tells long tasks that the worker was asked to end."""

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType

from taskiq import AsyncBroker, TaskiqEvents, TaskiqState


def on_shutdown_signals(notice: Callable[[], None], *, at_once: Callable[[], None] | None = None) -> None:
    """Call `notice` in this event loop on SIGTERM and SIGINT, beside the handlers that are there.

    It also wakes an idle loop, which the flags that taskiq's handlers set do not. Call it in the loop of the main
    thread; in any other thread, where Python allows no handlers, it does nothing.

    Args:
        notice: is called by the loop, when it comes to that.
        at_once: is called by the handler itself, whatever the loop does; it must not wait for a lock.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        known = signal.getsignal(number)

        def handle(signum: int, frame: FrameType | None, known: object = known) -> None:
            if at_once is not None:
                at_once()
            if callable(known):
                known(signum, frame)
            if not loop.is_closed():
                loop.call_soon_threadsafe(notice)

        signal.signal(number, handle)


class ShutdownSignal:
    """Set once this process has received SIGTERM or SIGINT, so that a task can stop at a good moment.

    taskiq tells its tasks nothing: it waits for them, for ever or for `--wait-tasks-timeout` seconds.
    """

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self._followed: set[AsyncBroker] = set()

    def follow(self, broker: AsyncBroker) -> None:
        """Take notice of the signals where the broker's tasks run in a worker; a second call does nothing more."""
        if broker in self._followed:
            return
        self._followed.add(broker)

        async def listen(_: TaskiqState) -> None:
            if broker.is_worker_process:
                self.listen()

        broker.with_event_handlers(TaskiqEvents.WORKER_STARTUP, listen)

    def listen(self) -> None:
        """Take notice of the signals beside the handlers that are there; call it in the main thread's event loop."""
        on_shutdown_signals(self.event.set)
