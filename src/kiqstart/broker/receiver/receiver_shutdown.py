"""How a receiver ends: what it has not started goes back at once, and in the end what has not ended in time."""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from logging import getLogger
from typing import Final

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.consumer import StreamConsumer
from kiqstart.broker.delivery import Delivery
from kiqstart.clock import local_time
from kiqstart.processes.shutdown import on_shutdown_signals
from kiqstart.processes.shutdown_watchdog import ShutdownWatchdog

logger = getLogger(__name__)

_SECONDS_BETWEEN_LOOKS: Final = 1.0


class ReceiverShutdown:
    """Ends a receiver.

    Args:
        running: what is in hand, with the asyncio tasks that run it; a live view.
        grace: seconds that running tasks have from the request on; None for ever.
    """

    def __init__(
        self,
        broker: StreamBroker,
        consumer: StreamConsumer,
        running: Mapping[Delivery, asyncio.Task[None]],
        *,
        grace: float | None,
    ) -> None:
        self._broker = broker
        self._consumer = consumer
        self._running = running
        self._grace = grace
        self._watchdog: ShutdownWatchdog | None = None

    def expect(self, notice: Callable[[], None]) -> None:
        """Call `notice` in this event loop when the worker is to end; if the loop is then blocked, end the process."""
        if self._grace is not None:
            give_back = self._consumer.give_back_in_thread
            self._watchdog = ShutdownWatchdog(asyncio.get_running_loop(), grace=self._grace, give_back=give_back)
        on_shutdown_signals(notice, at_once=self._request)

    async def finish(self) -> None:
        """Wait for what runs, then let others have what still does, and wait for Redis to take what has ended."""
        consumer = self._consumer
        await consumer.give_back([one for one in consumer.in_flight.all() if not one.is_started and not one.is_lost])
        if self._running:
            logger.info("Waiting for %d running tasks to complete...", len(self._running))
        await asyncio.gather(self._wait_for_running(), self._broker.end_quarantine(self._seconds))
        interrupted = [one for one in consumer.in_flight.all() if not one.is_lost and one.settling_since is None]
        if interrupted:
            logger.warning("%d tasks did not end in time and are given back", len(interrupted))
            await consumer.interrupt(interrupted)
            if consumer.timeout_watchdog.threads:
                await self._leave_threads()
        # Not left to the broker's shutdown, for which taskiq allows five seconds.
        await consumer.wait_for_settling()
        if self._watchdog is not None:
            self._watchdog.stop()

    def _request(self) -> None:
        self._consumer.drain()
        if self._watchdog is not None:
            self._watchdog.request()

    @property
    def _seconds(self) -> float:
        return float("inf") if self._grace is None else self._grace

    async def _wait_for_running(self) -> None:
        deadline = local_time() + self._seconds
        while self._running and local_time() < deadline and not self._consumer.gives_up_settling():
            timeout = min(deadline - local_time(), _SECONDS_BETWEEN_LOOKS)
            await asyncio.wait([*self._running.values()], timeout=timeout)

    async def _leave_threads(self) -> None:
        # Threads cannot be stopped, and Python would wait for them: they end with the process.
        logger.warning("%d tasks in threads are cut off", self._consumer.timeout_watchdog.threads)
        await self._broker.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
