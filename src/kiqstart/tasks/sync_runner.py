"""Sending tasks and waiting for results from code that is not async."""

import asyncio
import atexit
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar, cast

from taskiq import AsyncBroker

from kiqstart.processes.forks import tell_of_forks

T = TypeVar("T")

_SECONDS_TO_CLOSE: Final = 5.0


class _HasBroker(Protocol):
    @property
    def broker(self) -> AsyncBroker: ...


def sync(tasks: AsyncBroker | _HasBroker) -> "SyncRunner":
    """Send tasks, and wait for them, from code that is not async.

        with kiqstart.sync(registry) as run:
            print(run(run(registry.ping.kiq()).result(timeout=5)))

    Args:
        tasks: their broker, or a registry or an application, which has one.
    """
    return SyncRunner(tasks if isinstance(tasks, AsyncBroker) else tasks.broker)


class SyncRunner:
    """Runs coroutines of a broker's tasks for code that is not async, on one event loop in a thread of its own.

        with SyncRunner(broker) as run:
            sent = run(registry.ping.kiq())
            print(run(sent.result(timeout=5)))

    The loop starts with the first call, and so does the broker; at the end of the block both stop and all connections
    close. Runners of one broker share the loop, and the last of them ends it. A program that sends as long as it lives,
    such as a Django site, makes one for the whole program and calls it from any thread; it is closed when the program
    ends. A forked child gets a loop of its own. In a worker, a task that is not async may use one: the broker, which
    the worker has started, is then left alone.

    Args:
        broker: that of the tasks.
    """

    def __init__(self, broker: AsyncBroker) -> None:
        # In one step, as several threads may make one each.
        self._loop: _BrokerLoop = vars(broker).setdefault("_kiqstart_sync_loop", _BrokerLoop(broker))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it, and give what it returns.

        Raises:
            RuntimeError: this thread runs an event loop, which would stand still meanwhile: await it there.
            Exception: what it raises; or what the broker raises that cannot start.
        """
        if _runs_a_loop():
            coroutine.close()
            raise RuntimeError("this thread runs an event loop: await the call there, without SyncRunner")
        try:
            loop = self._loop.started_for(self)
        except BaseException:
            coroutine.close()
            raise
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # it may be Ctrl-C, and nobody waits for it any more
            raise

    def close(self) -> None:
        """Stop the broker, close its connections, and end the loop, unless another runner still has calls to make.

        A further call starts them again.
        """
        self._loop.leave(self)


class _BrokerLoop:
    """The event loop of a broker, in a thread of its own."""

    def __init__(self, broker: AsyncBroker) -> None:
        self._broker = broker
        self._changing = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._runners = set[SyncRunner]()
        tell_of_forks(self)

    def started_for(self, runner: SyncRunner) -> asyncio.AbstractEventLoop:
        with self._changing:
            if self._loop is None:
                self._start()
            self._runners.add(runner)
            return cast("asyncio.AbstractEventLoop", self._loop)

    def leave(self, runner: SyncRunner) -> None:
        with self._changing:
            self._runners.discard(runner)
            if not self._runners:
                self._stop()

    def end(self) -> None:
        with self._changing:
            self._runners.clear()
            self._stop()

    def after_fork(self) -> None:
        """In a child: the parent's thread is not there, and another one may have held the lock."""
        self._changing = threading.Lock()
        self._loop = self._thread = None
        self._runners = set()

    def _start(self) -> None:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=_run, args=(loop,), name="kiqstart-sync", daemon=True)
        thread.start()
        try:
            # In a worker it has been started, with all that the tasks need, in the loop that runs them.
            if not self._broker.is_worker_process:
                asyncio.run_coroutine_threadsafe(self._broker.startup(), loop).result()
        except BaseException:
            loop.call_soon_threadsafe(loop.stop)
            raise
        self._loop, self._thread = loop, thread
        atexit.register(self.end)

    def _stop(self) -> None:
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is None or thread is None:
            return
        atexit.unregister(self.end)
        try:
            if not self._broker.is_worker_process:
                asyncio.run_coroutine_threadsafe(self._broker.shutdown(), loop).result(_SECONDS_TO_CLOSE)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(_SECONDS_TO_CLOSE)


def _runs_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
