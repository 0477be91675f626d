"""Ending a scheduler on SIGTERM, also where it is process 1 of a container."""

import asyncio
import os
import signal

from kiqstart.processes.ending import is_taken

_KILLED_BY_A_SIGNAL = 128


def end_on_sigterm() -> None:
    """Let SIGTERM end the current task, as Ctrl-C ends it: taskiq's scheduler then shuts down, and exits with 0.

    taskiq leaves SIGTERM to the system, which does not kill the first process of a container. A second SIGTERM ends the
    process at once. Nothing is changed where the program has a handler of its own, outside the main thread, and on
    platforms without signal handlers in the event loop.
    """
    task = asyncio.current_task()
    if task is None or is_taken(signal.SIGTERM):
        return
    loop = asyncio.get_running_loop()

    def end() -> None:
        loop.add_signal_handler(signal.SIGTERM, os._exit, _KILLED_BY_A_SIGNAL + signal.SIGTERM)
        task.cancel()

    try:
        loop.add_signal_handler(signal.SIGTERM, end)
    except (NotImplementedError, RuntimeError, ValueError):
        return
