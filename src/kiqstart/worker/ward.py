"""The process that runs suspects for a worker, which watches it: that worker's child, with its broker loaded anew.

It takes nothing but suspects, and ends by itself when there have been none for a while, when it is asked to (SIGTERM,
Ctrl-C), and at once when the worker has died.
"""

import asyncio
import logging
import multiprocessing
import os
import select
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Final

import uvloop
from redis.exceptions import RedisError

from kiqstart.broker.quarantine.ward_orders import WardOrders
from kiqstart.broker.quarantine.ward_process import BYE, LOSS, NAME
from kiqstart.errors import OperatorError, print_error
from kiqstart.processes.ending import take_ending_signals
from kiqstart.worker.runner import shut_down
from kiqstart.worker.ward_loading import (
    check_tasks,
    configure_logging,
    load_ward_broker,
    receiver_options,
)

if TYPE_CHECKING:
    from kiqstart.broker.broker import StreamBroker
    from kiqstart.broker.consumer import StreamConsumer

logger = logging.getLogger(__name__)

_IDLE_LEASES: Final = 2.0
_SECONDS_BETWEEN_LOOKS: Final = 0.5
# How long after its worker's death a ward is still there at most; where its event loop is blocked, a thread gives back.
_SECONDS_TO_GIVE_BACK: Final = 1.5
_SECONDS_OF_A_BLOCKED_LOOP: Final = 0.7
_SECONDS_BETWEEN_CANCELS: Final = 0.05
_SECONDS_TO_SHUT_DOWN: Final = 5.0
_SECONDS_TO_EXIT: Final = 2.0


class Parent:
    """The worker that has started this process: is told what it needs to be a witness.

    Args:
        connection: to it; its end is the worker's end.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._pid = os.getppid()

    def orders(self) -> WardOrders:
        """What it wants to be run.

        Raises:
            ValueError: it has died.
        """
        with self._connection.makefile("rb") as file:
            return WardOrders.parse(file.readline())

    def tell_name(self, worker: str) -> None:
        """Say which name this process has in Redis from now on."""
        self._tell(NAME + worker.encode())

    def tell_loss(self, loss: int) -> None:
        """Say which data Redis had lost, and that this process has by now what Redis says that it has."""
        self._tell(LOSS + str(loss).encode())

    def say_bye(self) -> None:
        """Say that this process will end, and has not died."""
        self._tell(BYE)

    def wait_for_end(self) -> None:
        """Return when it has died, or wants this process to end at once."""
        while os.getppid() == self._pid:
            # Processes that it has forked may hold the connection open.
            readable = select.select([self._connection], [], [], _SECONDS_BETWEEN_LOOKS)[0]
            try:
                if readable and not self._connection.recv(1):
                    return
            except OSError:  # it has died without having read what it was told
                return

    def _tell(self, line: bytes) -> None:
        with suppress(OSError):
            self._connection.sendall(line + b"\n")


class Ward:
    """One process for suspects, from its first signal handler to its end."""

    def __init__(self, parent: Parent) -> None:
        self._parent = parent
        self._loop: asyncio.AbstractEventLoop | None = None
        self._consumer: StreamConsumer | None = None
        self._listening: asyncio.Task[None] | None = None
        self._finish = asyncio.Event()

    def run(self) -> None:
        """Run suspects until there are none, or this process is to end.

        Raises:
            OperatorError: the broker cannot be loaded or started.
        """
        take_ending_signals(self._on_signal)
        orders = self._parent.orders()
        threading.Thread(target=self._end_with_parent, name="parent", daemon=True).start()
        multiprocessing.current_process().name = orders.name
        sys.path[:] = orders.path
        broker = load_ward_broker(orders)
        configure_logging(orders)
        loop = uvloop.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._serve(broker, orders))
        finally:
            loop.run_until_complete(shut_down(broker, _SECONDS_TO_SHUT_DOWN))

    async def _serve(self, broker: "StreamBroker", orders: WardOrders) -> None:
        from kiqstart.broker.fetcher import MOST_AT_ONCE
        from kiqstart.broker.receiver.stream_receiver import StreamReceiver

        is_registered = asyncio.Event()
        self._loop = loop = asyncio.get_running_loop()

        def tell_name(worker: str) -> None:
            self._parent.tell_name(worker)
            loop.call_soon_threadsafe(is_registered.set)

        broker.run_suspects(tell_name, self._parent.tell_loss)
        executor = ThreadPoolExecutor(max_workers=MOST_AT_ONCE)
        receiver = StreamReceiver(
            broker, executor=executor, max_async_tasks=MOST_AT_ONCE, run_startup=False, **receiver_options(orders)
        )
        await broker.startup()
        # A task may be registered by a handler of that event.
        check_tasks(broker, orders)
        self._listening = asyncio.create_task(receiver.listen(self._finish))
        idling = asyncio.create_task(self._end_when_idle(broker, is_registered))
        try:
            await self._listening
        except asyncio.CancelledError:
            logger.debug("The tasks that still run are given back")
        finally:
            idling.cancel()
            executor.shutdown(wait=False)

    async def _end_when_idle(self, broker: "StreamBroker", is_registered: asyncio.Event) -> None:
        await is_registered.wait()
        consumer = self._consumer = await broker.consume()
        busy_at = time.monotonic()
        while time.monotonic() - busy_at < broker.options.lease * _IDLE_LEASES:
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
            if len(consumer.in_flight):
                busy_at = time.monotonic()
        logger.info("No tasks are left whose workers died repeatedly; this process ends")
        self._parent.say_bye()
        self._finish.set()

    def _on_signal(self, _: int, __: FrameType | None) -> None:
        self._parent.say_bye()
        if self._loop is None:
            raise SystemExit(0)
        self._loop.call_soon_threadsafe(self._finish.set)

    def _end_with_parent(self) -> None:
        self._parent.wait_for_end()
        if self._loop is None:
            os._exit(0)
        _exit_later(_SECONDS_TO_GIVE_BACK)
        if self._consumer is not None:
            self._consumer.drain()
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._cut)
        time.sleep(_SECONDS_OF_A_BLOCKED_LOOP)
        if self._consumer is not None:
            with suppress(RedisError, OSError):
                self._consumer.give_back_in_thread()

    def _cut(self) -> None:
        self._parent.say_bye()
        self._finish.set()
        # Again until it has ended: what is cancelled may go on to wait for running tasks.
        if self._loop is not None and self._listening is not None and not self._listening.done():
            self._listening.cancel()
            self._loop.call_later(_SECONDS_BETWEEN_CANCELS, self._cut)


def main(descriptor: str) -> int:
    """Run suspects for the worker at the other end of the connection; return the exit code."""
    connection = socket.socket(fileno=int(descriptor))
    # The processes of tasks must not keep it open.
    connection.set_inheritable(False)
    try:
        Ward(Parent(connection)).run()
    except OperatorError as error:
        print_error(error)
        return 1
    # Python waits for threads, of which one may still run what is over its time.
    _exit_later(_SECONDS_TO_EXIT)
    return 0


def _exit_later(seconds: float) -> None:
    def end() -> None:
        time.sleep(seconds)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    threading.Thread(target=end, name="exit", daemon=True).start()
