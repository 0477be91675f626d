"""Notices tasks that go on after their time-out: those that block the event loop, and those in threads."""

import functools
import math
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from logging import getLogger
from typing import Any, Final

from kiqstart.clock import local_time

logger = getLogger(__name__)

# EX_SOFTWARE of sysexits.h; taskiq's process manager starts the worker again.
_EXIT_CODE: Final = 70


@dataclass(frozen=True, kw_only=True, eq=False)
class TimedRun:
    """A run that ought to end in time."""

    task_name: str
    task_id: str
    timeout: float
    started_at: float


class _Watching:
    """Not made by `contextmanager`, which sets the traceback of each error: not all allow that."""

    def __init__(self, timeout_watchdog: "TimeoutWatchdog", run: TimedRun) -> None:
        self._timeout_watchdog = timeout_watchdog
        self._run = run

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._timeout_watchdog.end(self._run)


class TimeoutWatchdog:
    """The runs of this process that have a time-out, looked at by the lease's thread.

    Args:
        grace: seconds beyond its time-out after which a run is reported.
        replace: whether this process then gives its other tasks back and ends.
    """

    def __init__(self, *, grace: float, replace: bool) -> None:
        self._grace = grace
        self._replace = replace
        self._lock = threading.Lock()
        self._runs: set[TimedRun] = set()
        self._reported: set[TimedRun] = set()
        self._threads = 0

    def begin(self, task_name: str, task_id: str, timeout: float) -> TimedRun:
        """Watch a run that starts now and has `timeout` seconds."""
        run = TimedRun(task_name=task_name, task_id=task_id, timeout=timeout, started_at=local_time())
        with self._lock:
            self._runs.add(run)
        return run

    def end(self, run: TimedRun) -> None:
        """The run has ended; may be said twice."""
        with self._lock:
            self._runs.discard(run)
            self._reported.discard(run)

    @property
    def threads(self) -> int:
        """How many runs are in threads, which nothing can stop."""
        return self._threads

    def tracked(
        self, target: Callable[..., Any], task_name: str, task_id: str, timeout: float | None
    ) -> Callable[..., Any]:
        """A function that is called in a thread, watched and counted while it runs there."""

        @functools.wraps(target)
        def run(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # the task's own
            self._count_threads(1)
            try:
                with self.watching(task_name, task_id, timeout):
                    return target(*args, **kwargs)
            finally:
                self._count_threads(-1)

        return run

    def watching(self, task_name: str, task_id: str, timeout: float | None) -> "_Watching":
        """Watch what happens in the block; None: it has no time-out."""
        return _Watching(self, self.begin(task_name, task_id, math.inf if timeout is None else timeout))

    def _count_threads(self, change: int) -> None:
        with self._lock:
            self._threads += change

    def check(self, give_back_others: Callable[[str], None]) -> None:
        """Report the runs that are over their time and grace, and replace this process where that is wanted."""
        now = local_time()
        with self._lock:
            late = [run for run in self._runs - self._reported if now - run.started_at > run.timeout + self._grace]
            self._reported.update(late)
        for run in late:
            logger.error(
                "Task %s with id %s still runs %.1f s after its time-out of %g s: it blocks the event loop "
                "or a thread, or cleans up",
                *(run.task_name, run.task_id, now - run.started_at - run.timeout, run.timeout),
            )
        if late and self._replace:
            logger.error("This worker process is replaced; its other tasks are given back")
            give_back_others(late[0].task_id)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(_EXIT_CODE)
