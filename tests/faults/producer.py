"""Sends tasks, and records which sends returned."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Concatenate, ParamSpec

from taskiq import AsyncTaskiqDecoratedTask
from tests.faults.recorder import Mark, Recorder
from tests.faults.tasks import Tasks

from kiqstart.broker.broker import StreamBroker

P = ParamSpec("P")


class Producer:
    """A program that sends."""

    def __init__(self, broker: StreamBroker, recorder: Recorder) -> None:
        self.broker = broker
        self.tasks = Tasks.register(broker, recorder)
        self.refused: list[str] = []
        """The sends that raised an error, and the error."""
        self._recorder = recorder
        self._sends: set[asyncio.Task[None]] = set()

    async def send(
        self, task: AsyncTaskiqDecoratedTask[Concatenate[str, P], Any], name: str, *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Send a task whose id, for the suite and for taskiq, is `name`."""
        self._recorder.write(Mark.SENDING, name)
        try:
            await task.kicker().with_task_id(name).kiq(name, *args, **kwargs)
        except Exception as error:  # noqa: BLE001  # whatever it is, it was not accepted
            self.refused.append(f"{name}: {type(error).__name__}: {error}")
        else:
            self._recorder.write(Mark.SENT, name)

    async def send_unknown(self, name: str) -> None:
        """Send a task that no worker has."""
        self._recorder.write(Mark.SENDING, name, task="nobody")
        task = self.broker.register_task(_nobody, task_name="nobody")
        await task.kicker().with_task_id(name).kiq()
        self._recorder.write(Mark.SENT, name)

    async def send_naps(self, prefix: str, count: int, seconds: float) -> list[str]:
        """Send so many naps at once, and give their ids."""
        names = [f"{prefix}-{number}" for number in range(count)]
        await asyncio.gather(*(self.send(self.tasks.nap, name, seconds) for name in names))
        return names

    @asynccontextmanager
    async def load(self, *, rate: float, seconds: float = 0.2, prefix: str = "load") -> AsyncGenerator[None]:
        """Send naps at a steady rate within the `async with` block, however long a single send takes."""
        sender = asyncio.create_task(self._send_steadily(prefix, rate, seconds))
        try:
            yield
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
            await self.flush()

    def begin(
        self, task: AsyncTaskiqDecoratedTask[Concatenate[str, P], Any], name: str, *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Begin a send, and do not wait for it."""
        send = asyncio.create_task(self.send(task, name, *args, **kwargs))
        self._sends.add(send)
        send.add_done_callback(self._sends.discard)

    async def flush(self) -> None:
        """Wait for the sends that were begun."""
        await asyncio.gather(*self._sends)

    async def _send_steadily(self, prefix: str, rate: float, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        began, number = loop.time(), 0
        while True:
            self.begin(self.tasks.nap, f"{prefix}-{number}", seconds)
            number += 1
            await asyncio.sleep(max(0.0, began + number / rate - loop.time()))


async def _nobody() -> None:
    """Run by nobody."""
