"""Sending tasks and waiting for results from code that is not async."""

import asyncio
import atexit
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

from taskiq import AsyncBroker

from kiqstart.redis.forks import tell_of_forks

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
    close. A program that sends as long as it lives, such as a Django site, makes one for the whole program and calls it
    from any thread; it is closed when the program ends. A forked child gets a loop of its own.

    Args:
        broker: that of the tasks.
    """

    def __init__(self, broker: AsyncBroker) -> None:
        self._broker = broker
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        tell_of_forks(self)

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
            loop = self._started()
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
        """Stop the broker, close its connections, and end the loop; a further call starts them again."""
        with self._starting:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        atexit.unregister(self.close)
        try:
            asyncio.run_coroutine_threadsafe(self._broker.shutdown(), loop).result(_SECONDS_TO_CLOSE)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(_SECONDS_TO_CLOSE)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is not None:
                return self._loop
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=_run, args=(loop,), name="kiqstart-sync", daemon=True)
            thread.start()
            try:
                asyncio.run_coroutine_threadsafe(self._broker.startup(), loop).result()
            except BaseException:
                loop.call_soon_threadsafe(loop.stop)
                raise
            self._loop, self._thread = loop, thread
            atexit.register(self.close)
            return loop

    def after_fork(self) -> None:
        """In a child: the parent's thread is not there, and another one may have held the lock."""
        self._starting = threading.Lock()
        self._loop = self._thread = None


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
    finally:
        loop.close()
