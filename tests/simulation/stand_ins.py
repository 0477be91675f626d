"""Stand-ins for the modules of which the product asks its machine something, in virtual time."""

import random
import sys
from collections import deque
from collections.abc import Callable
from typing import Final

from greenlet import GreenletExit  # type: ignore[import-untyped]  # it has no types
from tests.simulation import kernel as simulated
from tests.simulation.kernel import Kernel, Process, current_thread

# What all clocks say when a history begins: a full minute, so that it begins at the same place among scheduled times.
START_MS: Final = 1_800_000_000_000
# Of the histories that are played now: one, unless one is played within another.
KERNELS: Final[list[Kernel]] = []


def running_process() -> Process:
    """The process that runs now."""
    process = KERNELS[-1].current
    assert process is not None
    return process


class Time:
    """Stands in for the module `time`."""

    CLOCK_MONOTONIC = 1

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def clock_gettime(self, _: int) -> float:
        """The clock of the process that runs now."""
        kernel = self._kernel
        process = kernel.current
        return kernel.now if process is None else kernel.now * process.rate + process.offset

    def monotonic(self) -> float:
        """The same clock: this machine does not sleep."""
        return self._kernel.local_time()

    def time(self) -> float:
        """Of day, by a clock that nobody sets."""
        return START_MS / 1000 + self._kernel.now

    def sleep(self, seconds: float) -> None:
        """Block the thread that runs now."""
        thread, process = current_thread(), running_process()
        process.kernel.after(seconds, lambda: process.do(thread.resume))
        thread.block()


class Random:
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


class Name:
    def __init__(self, text: str) -> None:
        self.hex = text


class Uuid:
    """Stands in for the module `uuid`: names that are the same in each run."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._count = 0

    def uuid4(self) -> Name:
        """The next name. It begins with no letter that would say what kind of worker it is."""
        self._count += 1
        process = self._kernel.current
        return Name(f"0{process.name if process is not None else 'x'}x{self._count:04d}")


class Event:
    """Stands in for `threading.Event`."""

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: list[tuple[Process, simulated.Thread]] = []

    def set(self) -> None:
        """Wake those who wait."""
        self._is_set = True
        waiting, self._waiting = self._waiting, []
        for process, thread in waiting:
            process.soon(thread.resume)

    def clear(self) -> None:
        """Wake nobody."""
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it is set, or the time is over."""
        if not self._is_set:
            thread, process = current_thread(), running_process()
            ours = (process, thread)
            self._waiting.append(ours)

            def wake() -> None:
                if ours in self._waiting:
                    self._waiting.remove(ours)
                    thread.resume()

            if timeout is not None:
                process.kernel.after(timeout, lambda: process.do(wake))
            thread.block()
        return self._is_set


class SignalSafeEvent(Event):
    """Stands in for the event that a signal's handler may set."""

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it is set, or the time is over; take what was set."""
        is_set = super().wait(timeout)
        self.clear()
        return is_set


class Thread:
    """Stands in for `threading.Thread`."""

    def __init__(self, *, target: Callable[[], object], name: str, daemon: bool) -> None:
        del name, daemon
        self._target = target
        self._thread: simulated.Thread | None = None

    def start(self) -> None:
        """Start it."""
        self._thread = running_process().start_thread(self._target)

    def join(self, timeout: float) -> None:
        """Block until it has ended, or the time is over."""
        if self._thread is None or self._thread.is_over:
            return
        thread, process = current_thread(), running_process()
        is_woken: list[bool] = []

        def wake() -> None:
            if not is_woken:
                is_woken.append(True)
                thread.resume()

        self._thread.when_over(wake)
        process.kernel.after(timeout, lambda: process.do(wake))
        thread.block()


class Threading:
    """Stands in for the module `threading`."""

    Event = Event
    Thread = Thread


class SimpleQueue:
    """Stands in for `queue.SimpleQueue`, of which one thread takes."""

    def __init__(self) -> None:
        self._items: deque[object] = deque()
        self._is_filled = Event()

    def put(self, item: object) -> None:
        """Add one."""
        self._items.append(item)
        self._is_filled.set()

    def get(self) -> object:
        """Block until there is one."""
        while not self._items:
            self._is_filled.clear()
            self._is_filled.wait()
        return self._items.popleft()


class Os:
    """Stands in for the module `os`, where it names or ends this process."""

    @staticmethod
    def getpid() -> int:
        """The same for all: each has a machine of its own."""
        return 1

    @staticmethod
    def _exit(_: int) -> None:
        running_process().exit()
        raise GreenletExit


class Socket:
    """Stands in for the module `socket`, where it names this machine."""

    @staticmethod
    def gethostname() -> str:
        """By its process."""
        return running_process().name


class Logger:
    """Stands in for a logger, of errors that nobody expects."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def exception(self, message: str, *_: object) -> None:
        """Something is wrong with the product, or with the simulation."""
        self._note(message, sys.exception())

    def error(self, message: str, *_: object, exc_info: BaseException | None = None) -> None:
        """Some errors are expected; those with a traceback are not."""
        if exc_info is not None:
            self._note(message, exc_info)

    def debug(self, *_: object) -> None:
        """Nobody reads it."""

    info = warning = debug

    def _note(self, message: str, error: BaseException | None) -> None:
        self._kernel.error = self._kernel.error or f"{message}: {error!r}"


def on_shutdown_signals(notice: Callable[[], None], *, at_once: Callable[[], None] | None = None) -> None:
    """Handle the signals of the process that runs now."""
    process = running_process()

    def handle() -> None:
        if at_once is not None:
            at_once()
        process.loop.call_soon(notice)

    process.on_signal.append(handle)
