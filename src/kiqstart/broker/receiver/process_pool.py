"""Runs functions in processes, and outlives these."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from logging import getLogger
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from kiqstart.broker.receiver.pool_process import prepare, run_pickled, unpickled
from kiqstart.broker.receiver.pool_progress import PoolReports
from kiqstart.tasks.errors import ProcessLostError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess
    from multiprocessing.queues import Queue, SimpleQueue

logger = getLogger(__name__)

_SECONDS_BETWEEN_LOOKS: Final = 0.5
# A whole message as `multiprocessing.connection` writes it, one byte long, that is no pickle.
_NO_PICKLE: Final = b"\0\0\0\1!"


# The number by which it reports, the function and its arguments.
_Call: TypeAlias = tuple[int, Callable[..., Any], Sequence[object], Mapping[str, object]]


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

    async def reply(self, future: "Future[bytes]") -> bytes:
        """What one of them replies.

        Raises:
            BrokenProcessPool: one of them has died.
        """
        watch = asyncio.create_task(self._watch())
        try:
            return await asyncio.wrap_future(future)
        finally:
            watch.cancel()

    def has_died(self) -> bool:
        """Whether one has, also one whose pipe a process that it forked keeps open: the executor does not see that."""
        return not all(process.is_alive() for process in self._known())

    def kill(self) -> None:
        """End them in the middle of whatever they do; their calls fail."""
        for process in self._known():
            with suppress(ValueError):  # closed already
                process.kill()
        self._break_executor()

    def close(self) -> None:
        """Let them go; what they still run is cut off."""
        # Also those that have nothing to do: one that died while it waited has the lock for which the others wait. They
        # take no notice of SIGTERM, and the executor's thread waits for them, also when this process is to end.
        self.kill()
        self.executor.shutdown(wait=False, cancel_futures=True)

    async def _watch(self) -> None:
        while True:
            if self.has_died():
                self.kill()
                return
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)

    def _known(self) -> "list[BaseProcess]":
        # Public from Python 3.14 on, as `kill_workers`.
        known: Mapping[int, BaseProcess] | None = getattr(self.executor, "_processes", None)
        return list((known or {}).values())

    def _break_executor(self) -> None:
        # Its thread waits for the end of their pipes, which may be far off: a process that they forked has these too.
        calls: Queue[object] | None = getattr(self.executor, "_call_queue", None)
        results: SimpleQueue[object] | None = getattr(self.executor, "_result_queue", None)
        if calls is None or results is None:
            return
        calls.cancel_join_thread()  # for what nobody reads any more
        writer: Connection = vars(results)["_writer"]
        with suppress(OSError):  # closed already; or full, which only a thread that has ended leaves so
            os.set_blocking(writer.fileno(), False)
            os.write(writer.fileno(), _NO_PICKLE)
        # One that died in the middle of a reply has left the thread waiting for the rest.
        writer.close()


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
        self._reports = PoolReports()
        self._options: dict[str, Any] = {
            "mp_context": options.get("_mp_context"),
            "initializer": prepare,
            "initargs": (options.get("_initializer"), options.get("_initargs", ()), self._reports.writer),
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
        number = self._reports.begin()
        try:
            return await self._run((number, target, args, kwargs))
        finally:
            self._reports.end(number)

    def close(self) -> None:
        """Let the processes go; what they still run is cut off."""
        for processes in (self._shared, self._alone):
            if processes is not None:
                processes.close()
        self._reports.close()

    async def _run(self, call: _Call) -> object:
        await self._free.acquire()
        try:
            processes, future = self._submit(call)
        except BaseException:
            self._free.release()
            raise
        processes.calls += 1
        try:
            reply = await processes.reply(future)
        except BrokenProcessPool:
            processes.break_down()
            if processes.calls_lost == 1:
                raise ProcessLostError from None
        else:
            return unpickled(reply)
        finally:
            self._end(processes, future)
        return await self._run_alone(call)

    def _submit(self, call: _Call) -> tuple[_Processes, "Future[bytes]"]:
        if self._shared.calls_lost is None and not self._shared.has_died():
            with suppress(BrokenProcessPool):  # it had nothing to do when it died
                return self._shared, self._shared.executor.submit(run_pickled, *call)
        self._shared.close()
        self._shared = self._make(self._size)
        return self._shared, self._shared.executor.submit(run_pickled, *call)

    async def _run_alone(self, call: _Call) -> object:
        async with self._turn_alone:
            self._alone = alone = self._make(1)
            try:
                future = alone.executor.submit(run_pickled, *call)
                alone.calls = 1
                reply = await alone.reply(future)
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
