"""Virtual time: events in the order of their times, and processes with clocks of their own that may freeze and die."""

from collections.abc import Callable
from contextlib import suppress
from heapq import heappop, heappush
from math import inf
from random import Random
from typing import Final

from greenlet import GreenletExit, getcurrent, greenlet  # type: ignore[import-untyped]  # it has no types
from tests.simulation.loop import SimulatedLoop

Call = Callable[[], object]
# So much later than asked a timer goes off: clocks of several speeds round differently.
_LATER: Final = 1e-6


class Kernel:
    """Calls what is due, in order, by a clock that begins at 0. Nothing here takes real time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.current: Process | None = None
        # An error that the product did not expect.
        self.error = ""
        self._events: list[tuple[float, int, Call]] = []
        self._count = 0

    def at(self, time: float, call: Call) -> None:
        """Call it at a time, after what was to be called at that time already."""
        self._count = count = self._count + 1
        heappush(self._events, (max(self.now, time), count, call))

    def after(self, seconds: float, call: Call) -> None:
        """Call it later."""
        self.at(self.now + seconds, call)

    def run(self, until: float, is_over: Callable[[], bool] = lambda: False) -> None:
        """Call what is due up to a time, or until the world is over."""
        events = self._events
        while events and events[0][0] <= until and not is_over():
            self.now, _, call = heappop(events)
            call()
        if not is_over():
            self.now = max(self.now, until)

    def local_time(self) -> float:
        """What `local_time` of the product gives in the process that runs now."""
        return self.now if self.current is None else self.current.local_time()


class Process:
    """An operating system's process: an event loop and threads, on a machine with a clock of its own.

    Args:
        random: everything that happens by chance to this process and no other.
        offset: seconds that its machine's steady clock is ahead.
        rate: how fast that clock runs.
    """

    def __init__(self, kernel: Kernel, name: str, random: Random, *, offset: float = 0.0, rate: float = 1.0) -> None:
        self.kernel: Final = kernel
        self.name: Final = name
        self.random: Final = random
        self.offset: Final = offset
        self.rate: Final = rate
        self.is_frozen = self.was_frozen = False
        self.is_dead = self.was_asked_to_end = False
        self.loop: Final = SimulatedLoop(self)
        # What the process does on SIGTERM; and what comes of it when it exits.
        self.on_signal: Final[list[Call]] = []
        self.on_exit: Call = self.kill
        self._held: list[Call] = []
        self._threads: list[Thread] = []
        self._wake_at = inf

    def local_time(self) -> float:
        """Seconds by this machine's steady clock."""
        return self.kernel.now * self.rate + self.offset

    def do(self, call: Call) -> None:
        """Let something happen in this process: now, or when it is thawed. Only the kernel's events may do this."""
        if self.is_dead:
            return
        if self.is_frozen:
            self._held.append(call)
            return
        kernel = self.kernel
        before, kernel.current = kernel.current, self
        try:
            call()
            self.loop.turn()
        finally:
            kernel.current = before
        self._set_timer()

    def soon(self, call: Call) -> None:
        """Let something happen in this process next."""
        self.kernel.at(self.kernel.now, lambda: self.do(call))

    def freeze(self) -> None:
        """Stand still; all clocks go on."""
        self.is_frozen = self.was_frozen = True

    def thaw(self) -> None:
        """Go on, with all that was to happen meanwhile."""
        if self.is_frozen:
            self.is_frozen = False
            held, self._held = self._held, []
            for call in held:
                self.do(call)

    def kill(self) -> None:
        """End without a word."""
        if self.is_dead:
            return
        self.is_dead = True
        for thread in self._threads:
            thread.end()
        before, self.kernel.current = self.kernel.current, self
        try:
            self.loop.abandon()
        finally:
            self.kernel.current = before

    def signal(self) -> None:
        """SIGTERM: it is asked to end."""
        self.was_asked_to_end = True
        self.soon(lambda: [handle() for handle in self.on_signal])

    def exit(self) -> None:
        """It ends by itself, without a word to its own threads."""
        self.kernel.after(0.0, self.on_exit)

    def start_thread(self, target: Call) -> "Thread":
        """Start a thread, which may block."""
        thread = Thread(self, target)
        self._threads = [one for one in self._threads if not one.is_over]
        self._threads.append(thread)
        self.soon(thread.resume)
        return thread

    def _set_timer(self) -> None:
        when = self.loop.next_timer()
        if when == inf or self.is_dead:
            return
        now = self.kernel.now
        at = now + max(when - (now * self.rate + self.offset), 0.0) / self.rate + _LATER
        if at < self._wake_at:
            self._wake_at = at
            self.kernel.at(at, self._on_timer)

    def _on_timer(self) -> None:
        if self.kernel.now >= self._wake_at:
            self._wake_at = inf
        self.do(lambda: None)


class Thread:
    """A thread of a process, which may block: the kernel goes on meanwhile."""

    def __init__(self, process: Process, target: Call) -> None:
        self._process = process
        self._target = target
        self._greenlet = greenlet(self._run)
        self._joining: list[Call] = []
        self.is_over = False

    def resume(self, value: object = None) -> None:
        """Go on, with what `block` gives. Only the kernel's events may do this, in the process."""
        if not self.is_over:
            # It may have been started by another thread, which is not the one that goes on when this one blocks.
            self._greenlet.parent = getcurrent()
            self._greenlet.switch(value)

    def block(self) -> object:
        """Wait in this thread until it is resumed."""
        parent = self._greenlet.parent
        assert parent is not None
        return parent.switch()

    def when_over(self, call: Call) -> None:
        """Call it in the process when the thread has ended."""
        self._joining.append(call)

    def end(self) -> None:
        """Its process is killed."""
        if not self.is_over:
            self.is_over = True
            self._greenlet.parent = getcurrent()
            with suppress(GreenletExit):
                self._greenlet.throw(GreenletExit)

    def _run(self, _: object = None) -> None:
        _THREADS[self._greenlet] = self
        try:
            self._target()
        finally:
            del _THREADS[self._greenlet]
            self.is_over = True
            for call in self._joining:
                self._process.soon(call)


_THREADS: Final[dict[greenlet, Thread]] = {}


def current_thread() -> Thread:
    """The thread that runs now.

    Raises:
        KeyError: it is the event loop's, which may not block.
    """
    return _THREADS[getcurrent()]
