"""An event loop in virtual time, that turns when it is told to."""

import asyncio
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, copy_context
from heapq import heapify, heappop, heappush
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeVarTuple, cast
from weakref import ref

if TYPE_CHECKING:
    from tests.simulation.kernel import Process

Ts = TypeVarTuple("Ts")
# As asyncio does: so many timers, and this part of them cancelled, are worth a look through all.
_MANY_TIMERS: Final = 100
_MANY_CANCELLED: Final = 0.5


class _Handle(asyncio.Handle):
    """asyncio's, without what it does for debugging."""

    __slots__ = ()

    def __init__(
        self, callback: object, args: tuple[object, ...], loop: asyncio.AbstractEventLoop, context: Context | None
    ) -> None:
        self._context = copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = self._source_traceback = None


class _Timer(asyncio.TimerHandle):
    """asyncio's, with the types that it has."""

    __slots__ = ()

    _when: float
    _scheduled: bool


class SimulatedLoop(asyncio.BaseEventLoop):
    """All of asyncio's, but for files, real threads and real time.

    It keeps to the order in which asyncio's own loop calls, and is written anew where most of the time goes.
    """

    _ready: deque[asyncio.Handle]
    _scheduled: list[_Timer]
    _closed: bool
    _timer_cancelled_count: int
    _clock_resolution: float

    def __init__(self, process: "Process") -> None:
        super().__init__()
        self._process = process
        self._is_turning = False
        # asyncio itself knows but all tasks there are, also those of dead processes.
        self._begun: list[ref[asyncio.Task[Any]]] = []
        self.set_exception_handler(self._note_error)

    def time(self) -> float:
        """The process' clock."""
        return self._process.local_time()

    def turn(self) -> None:
        """Do all that can be done now; meanwhile no time passes."""
        ready, process = self._ready, self._process
        # As `time`, without the calls.
        now = process.kernel.now * process.rate + process.offset
        if (not ready and self.next_timer() > now) or self._is_turning or process.is_dead:
            return
        self._is_turning = True
        events._set_running_loop(self)
        try:
            while ready or self.next_timer() <= now:
                self._take_due(now + self._clock_resolution)
                for _ in range(len(ready)):
                    handle = ready.popleft()
                    if not handle._cancelled:
                        handle._run()
        finally:
            events._set_running_loop(None)
            self._is_turning = False

    def _take_due(self, end: float) -> None:
        scheduled, count = self._scheduled, self._timer_cancelled_count
        if count and len(scheduled) > _MANY_TIMERS and count / len(scheduled) > _MANY_CANCELLED:
            for handle in scheduled:
                handle._scheduled = not handle._cancelled
            scheduled[:] = [handle for handle in scheduled if not handle._cancelled]
            heapify(scheduled)
            self._timer_cancelled_count = 0
        while scheduled and scheduled[0]._cancelled:
            self._timer_cancelled_count -= 1
            heappop(scheduled)._scheduled = False
        while scheduled and scheduled[0]._when < end:
            handle = heappop(scheduled)
            handle._scheduled = False
            self._ready.append(handle)

    def next_timer(self) -> float:
        """When the first timer goes off; infinite where there is none."""
        return self._scheduled[0]._when if self._scheduled else inf

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Call it in the next turn."""
        if self._closed:
            raise RuntimeError("Event loop is closed")
        handle = _Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call it at a time of the process' clock."""
        if self._closed:
            raise RuntimeError("Event loop is closed")
        timer = _Timer(when, cast("Callable[..., object]", callback), args, self, context)
        heappush(self._scheduled, timer)
        timer._scheduled = True
        return timer

    def create_task(self, coro: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:  # type: ignore[override]  # noqa: ANN401  # asyncio's
        """Begin a task."""
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, **options)
        self._begun.append(ref(task))
        return task

    def run_in_executor(  # type: ignore[override]  # asyncio's own has type variables that no thread here needs
        self,
        executor: object,
        func: Callable[..., Any],
        *args: Any,  # noqa: ANN401  # the function's
    ) -> "asyncio.Future[Any]":
        """Run a function in a thread of the process."""
        del executor
        future: asyncio.Future[Any] = self.create_future()

        def run() -> None:
            try:
                outcome = func(*args)
            except Exception as error:  # noqa: BLE001  # the caller's
                self.call_soon_threadsafe(_settle, future.set_exception, future, error)
            else:
                self.call_soon_threadsafe(_settle, future.set_result, future, outcome)

        self._process.start_thread(run)
        return future

    def abandon(self) -> None:
        """The process is dead: nothing goes on, and nobody is told."""
        ended: set[asyncio.Task[Any]] = set()
        before = events._get_running_loop()
        # What is closed may begin something in its last words: here, and not in a loop that Python makes for it.
        events._set_running_loop(self)
        try:
            while open_tasks := [task for one in self._begun if (task := one()) and not (task.done() or task in ended)]:
                for task in open_tasks:
                    cast("Any", task)._log_destroy_pending = False
                    with suppress(BaseException):
                        cast("Any", task.get_coro()).close()
                ended.update(open_tasks)
        finally:
            events._set_running_loop(before)
        self.close()

    def _note_error(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # What nobody asks for is noticed when garbage is collected, and may be what a dead process had begun.
        message, kernel = context["message"], self._process.kernel
        if message.startswith("Exception in callback") and not self._process.is_dead:
            kernel.error = kernel.error or f"{message} in {self._process.name}: {context.get('exception')!r}"

    def _write_to_self(self) -> None:
        self._process.soon(lambda: None)


def _settle(settle: Callable[[Any], None], future: "asyncio.Future[Any]", value: object) -> None:
    if not future.done():
        settle(value)
