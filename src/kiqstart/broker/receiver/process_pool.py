"""Runs functions in processes, and outlives these."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from logging import getLogger
from typing import TYPE_CHECKING, Any

from kiqstart.broker.receiver.pool_process import prepare, run_pickled, unpickled
from kiqstart.tasks.errors import ProcessLostError

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

logger = getLogger(__name__)


class _Processes:
    """Processes that break together: an executor, and how many calls it has."""

    def __init__(self, executor: ProcessPoolExecutor) -> None:
        self.executor = executor
        self.calls = 0
        self.calls_lost: int | None = None

    def break_down(self) -> None:
        """One of them has died. The others work for nobody, and a function of theirs runs again elsewhere."""
        if self.calls_lost is None:
            logger.error("A process of the pool has died; calls that it took with it: %d", self.calls)
            self.calls_lost = self.calls
            self.kill()

    def kill(self) -> None:
        """End them in the middle of whatever they do."""
        # Public from Python 3.14 on, as `kill_workers`.
        known: Mapping[int, BaseProcess] | None = getattr(self.executor, "_processes", None)
        for process in list((known or {}).values()):
            with suppress(ValueError):  # closed already
                process.kill()

    def close(self) -> None:
        """Let them go; what they still run is cut off."""
        # Also those that have nothing to do: one that died while it waited has the lock for which the others wait. They
        # take no notice of SIGTERM, and the executor's thread waits for them, also when this process is to end.
        self.kill()
        self.executor.shutdown(wait=False, cancel_futures=True)


class ProcessPool:
    """A pool of processes in which one may die: the others' functions run again, and later ones in a new pool.

    If several functions were in a pool that has died, nobody knows which was to blame: each of them runs again, alone
    in a process, one after the other. The one with which that process dies too is to blame, as is one that was alone
    from the start.

    Args:
        template: has not run anything; how many processes it has, and how they start.
    """

    def __init__(self, template: ProcessPoolExecutor) -> None:
        options = vars(template)
        self._size: int = options["_max_workers"]
        self._options: dict[str, Any] = {
            "mp_context": options.get("_mp_context"),
            "initializer": prepare,
            "initargs": (options.get("_initializer"), options.get("_initargs", ())),
        }
        # Each process has one call and finds the next. More would all be suspected when one of them dies.
        self._free = asyncio.Semaphore(self._size * 2)
        self._turn_alone = asyncio.Lock()
        self._shared = self._make(self._size)
        self._alone: _Processes | None = None

    async def run(self, target: Callable[..., Any], args: Sequence[object], kwargs: Mapping[str, object]) -> object:
        """Call a function in one of the processes; gives what it returns.

        Raises:
            ProcessLostError: its process died, and it alone was to blame.
            BaseException: what the function has raised.
        """
        await self._free.acquire()
        try:
            processes, future = self._submit(target, args, kwargs)
        except BaseException:
            self._free.release()
            raise
        processes.calls += 1
        try:
            reply = await asyncio.wrap_future(future)
        except BrokenProcessPool:
            processes.break_down()
            if processes.calls_lost == 1:
                raise ProcessLostError from None
        else:
            return unpickled(reply)
        finally:
            self._end(processes, future)
        return await self._run_alone(target, args, kwargs)

    def close(self) -> None:
        """Let the processes go; what they still run is cut off."""
        for processes in (self._shared, self._alone):
            if processes is not None:
                processes.close()

    def _submit(
        self, target: Callable[..., Any], args: Sequence[object], kwargs: Mapping[str, object]
    ) -> tuple[_Processes, "Future[bytes]"]:
        if self._shared.calls_lost is None:
            with suppress(BrokenProcessPool):  # it had nothing to do when it died
                return self._shared, self._shared.executor.submit(run_pickled, target, args, kwargs)
        self._shared.close()
        self._shared = self._make(self._size)
        return self._shared, self._shared.executor.submit(run_pickled, target, args, kwargs)

    async def _run_alone(
        self, target: Callable[..., Any], args: Sequence[object], kwargs: Mapping[str, object]
    ) -> object:
        async with self._turn_alone:
            self._alone = alone = self._make(1)
            try:
                future = alone.executor.submit(run_pickled, target, args, kwargs)
                alone.calls = 1
                reply = await asyncio.wrap_future(future)
                alone.calls = 0
            except BrokenProcessPool:
                raise ProcessLostError from None
            finally:
                self._alone = None
                alone.close()
        return unpickled(reply)

    def _end(self, processes: _Processes, future: "Future[bytes]") -> None:
        if future.done():
            processes.calls -= 1
            self._free.release()
            return
        # Nobody waits for it any more, but it runs on.
        loop = asyncio.get_running_loop()

        def tell(_: "Future[bytes]") -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._end, processes, future)

        future.add_done_callback(tell)

    def _make(self, size: int) -> _Processes:
        return _Processes(ProcessPoolExecutor(max_workers=size, **self._options))
