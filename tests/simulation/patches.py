"""What the product asks of its machine, answered by the simulation while a history runs."""

import logging
import random
import warnings
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Final
from unittest.mock import patch

from tests.simulation.kernel import Kernel, Process, Thread, current_thread

from kiqstart.infrastructure.taskiq.streams import (
    delivery,
    fetching,
    heartbeat,
    lease,
    outage,
    receiver_shutdown,
    registrar,
    sender,
)
from kiqstart.infrastructure.taskiq.streams.script import ScriptClock

# What every script gets as its time; the network puts Redis' time in its place.
_PLACEHOLDER: Final = "now"


class _Time:
    """Stands in for the module `time`."""

    CLOCK_MONOTONIC = 1

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def clock_gettime(self, _: int) -> float:
        """The clock of the process that runs now."""
        return self._kernel.local_time()


class _Random:
    """Stands in for the module `random`."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def uniform(self, low: float, high: float) -> float:
        """By the chance of the process that runs now."""
        process = self._kernel.current
        return (process.random if process is not None else random).uniform(low, high)

    def random(self) -> float:
        """By the chance of the process that runs now."""
        return self.uniform(0.0, 1.0)


class _Name:
    def __init__(self, text: str) -> None:
        self.hex = text


class _Uuid:
    """Stands in for the module `uuid`: names that are the same in each run."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._count = 0

    def uuid4(self) -> _Name:
        """The next name. It begins with no letter that would say what kind of worker it is."""
        self._count += 1
        process = self._kernel.current
        return _Name(f"0{process.name if process is not None else 'x'}x{self._count:04d}")


class _Event:
    """Stands in for `threading.Event`."""

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: list[tuple[Process, Thread]] = []

    def set(self) -> None:
        """Wake those who wait."""
        self._is_set = True
        waiting, self._waiting = self._waiting, []
        for process, thread in waiting:
            process.soon(thread.resume)

    def clear(self) -> None:
        """Wake nobody."""
        self._is_set = False

    def wait(self, timeout: float) -> bool:
        """Block until it is set, or the time is over."""
        if not self._is_set:
            thread, process = current_thread(), _process()
            ours = (process, thread)
            self._waiting.append(ours)

            def wake() -> None:
                if ours in self._waiting:
                    self._waiting.remove(ours)
                    thread.resume()

            process.kernel.after(timeout, lambda: process.do(wake))
            thread.block()
        return self._is_set


class _SignalSafeEvent(_Event):
    """Stands in for the event that a signal's handler may set."""

    def wait(self, timeout: float) -> bool:
        """Block until it is set, or the time is over; take what was set."""
        is_set = super().wait(timeout)
        self.clear()
        return is_set


class _Thread:
    """Stands in for `threading.Thread`."""

    def __init__(self, *, target: Callable[[], object], name: str, daemon: bool) -> None:
        del name, daemon
        self._target = target
        self._thread: Thread | None = None

    def start(self) -> None:
        """Start it."""
        self._thread = _process().start_thread(self._target)

    def join(self, timeout: float) -> None:
        """Block until it has ended, or the time is over."""
        if self._thread is None or self._thread.is_over:
            return
        thread, process = current_thread(), _process()
        is_woken: list[bool] = []

        def wake() -> None:
            if not is_woken:
                is_woken.append(True)
                thread.resume()

        self._thread.when_over(wake)
        process.kernel.after(timeout, lambda: process.do(wake))
        thread.block()


class _Threading:
    """Stands in for the module `threading`."""

    Thread = _Thread


_kernels: list[Kernel] = []


def _ask_for_no_signals(notice: object, *, at_once: object = None) -> None:
    """There are none here: a worker is asked to end by its event."""
    del notice, at_once


def _process() -> Process:
    process = _kernels[-1].current
    assert process is not None
    return process


@contextmanager
def simulated(kernel: Kernel) -> Generator[None]:
    """Let the product live in a kernel's time for the `with` block, and say nothing."""
    _kernels.append(kernel)
    names = _Uuid(kernel)
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    with ExitStack() as stack:
        # What a killed process had begun is never awaited.
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", RuntimeWarning)
        stack.callback(logging.disable, level)
        stack.callback(_kernels.pop)
        for module, name, value in (
            (delivery, "time", _Time(kernel)),
            (outage, "random", _Random(kernel)),
            (fetching, "random", _Random(kernel)),
            (lease, "uuid", names),
            (sender, "uuid", names),
            (registrar, "uuid4", names.uuid4),
            (heartbeat, "threading", _Threading),
            (heartbeat, "SignalSafeEvent", _SignalSafeEvent),
            (receiver_shutdown, "on_shutdown_signals", _ask_for_no_signals),
            (ScriptClock, "now", _PLACEHOLDER),
        ):
            stack.enter_context(patch.object(module, name, value))
        yield
