"""An event loop in virtual time, that turns when it is told to."""

import asyncio
from asyncio import events
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from tests.simulation.kernel import Process


class _NothingToSelect:
    """A selector without files; it never waits."""

    def select(self, timeout: float | None = None) -> list[Any]:
        """Nothing has happened."""
        del timeout
        return []


class SimulatedLoop(asyncio.BaseEventLoop):
    """All of asyncio's, but for files, real threads and real time."""

    def __init__(self, process: "Process") -> None:
        super().__init__()
        self._process = process
        self._selector = _NothingToSelect()
        self._is_turning = False
        self.set_exception_handler(self._note_error)

    def time(self) -> float:
        """The process' clock."""
        return self._process.local_time()

    def turn(self) -> None:
        """Do all that can be done now."""
        if self._process.is_dead or self._is_turning or not self._has_work():
            return
        self._is_turning = True
        events._set_running_loop(self)
        try:
            while self._has_work():
                cast("Any", self)._run_once()
        finally:
            events._set_running_loop(None)
            self._is_turning = False

    def next_timer(self) -> float | None:
        """When the first timer goes off."""
        scheduled = cast("list[asyncio.TimerHandle]", cast("Any", self)._scheduled)
        return scheduled[0].when() if scheduled else None

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
            while begun := asyncio.all_tasks(self) - ended:
                for task in begun:
                    cast("Any", task)._log_destroy_pending = False
                    with suppress(BaseException):
                        cast("Any", task.get_coro()).close()
                ended |= begun
        finally:
            events._set_running_loop(before)
        self.close()

    def _note_error(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # What nobody asks for is noticed when garbage is collected, and may be what a dead process had begun.
        message, kernel = context["message"], self._process.kernel
        if message.startswith("Exception in callback") and not self._process.is_dead:
            kernel.error = kernel.error or f"{message} in {self._process.name}: {context.get('exception')!r}"

    def _has_work(self) -> bool:
        if cast("Any", self)._ready:
            return True
        when = self.next_timer()
        return when is not None and when <= self.time()

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        self._process.soon(lambda: None)


def _settle(settle: Callable[[Any], None], future: "asyncio.Future[Any]", value: object) -> None:
    if not future.done():
        settle(value)
