"""Workers: the product's broker and receiver in a simulated process."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from redis.exceptions import RedisError
from tests.simulation.kernel import Process
from tests.simulation.product import SimulatedBroker

from kiqstart.broker.receiver.stream_receiver import StreamReceiver
from kiqstart.errors import OperatorError

_SECONDS_UNTIL_AGAIN: Final = 0.5
Task = Callable[[int], Awaitable[str]]


class Worker:
    """A process that runs tasks.

    Args:
        grace: seconds that running tasks have when it is asked to end.
    """

    def __init__(self, process: Process, broker: SimulatedBroker, *, at_once: int, grace: float) -> None:
        self.process: Final = process
        self.broker: Final = broker
        self.is_asked_to_end = False
        self.began: Final = process.kernel.now
        self._grace = grace
        self._at_once = at_once
        self._finish = asyncio.Event()
        process.on_signal.append(self._finish.set)
        process.soon(lambda: process.loop.create_task(self._serve()))

    def ask_to_end(self) -> None:
        """SIGTERM."""
        if not self.is_asked_to_end:
            self.is_asked_to_end = True
            self.process.signal()

    async def _serve(self) -> None:
        receiver = StreamReceiver(
            self.broker, max_async_tasks=self._at_once, wait_tasks_timeout=self._grace, run_startup=False
        )
        while not self._finish.is_set():
            try:
                await self.broker.consume()
            except (RedisError, OSError):
                await asyncio.sleep(_SECONDS_UNTIL_AGAIN)
                continue
            except OperatorError:
                # Its user lacks rights.
                self.process.exit()
                return
            await receiver.listen(self._finish)
        await self.broker.shutdown()
        self.process.kernel.after(0.0, self.process.kill)
