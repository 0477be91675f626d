"""taskiq's in-memory broker, with delays and retries that wait in this process."""

import asyncio
import time
from logging import getLogger
from typing import cast

from taskiq import BrokerMessage, InMemoryBroker

from kiqstart.broker.delivery import DeadLetterReason
from kiqstart.tasks.formatting import JsonFormatter
from kiqstart.tasks.labels import DELAY_LABEL, DUE_LABEL
from kiqstart.tasks.task import Task

logger = getLogger(__name__)


class DelayingInMemoryBroker(InMemoryBroker):
    """Runs tasks in the program that sends them, at once or when they are due. What waits is lost with the program.

    Args:
        max_stored_results: how many results are kept.
        await_inplace: whether a send waits until its task has run.
    """

    def __init__(self, *, max_stored_results: int = 100, await_inplace: bool = False) -> None:
        super().__init__(max_stored_results=max_stored_results, await_inplace=await_inplace)
        self.decorator_class = Task
        self.formatter = JsonFormatter(self)
        self._waiting: set[asyncio.Task[None]] = set()

    async def kick(self, message: BrokerMessage) -> None:
        """Run a message's task, now or when its labels `delay` or `due` say."""
        delay = float(cast("str", message.labels.get(DELAY_LABEL, 0)))
        if DUE_LABEL in message.labels:
            delay = float(cast("str", message.labels[DUE_LABEL])) - time.time()
        if delay > 0:
            self._wait(message, delay)
        else:
            await super().kick(message)

    async def retry(self, message: BrokerMessage, delay: float, *, is_first: bool = False) -> None:  # noqa: ARG002  # nothing waits before it
        """Run a message's task after `delay` seconds of this process' life."""
        self._wait(message, delay)

    async def bury(self, message: BrokerMessage, reason: DeadLetterReason, detail: str) -> None:
        """Log what would be a dead letter: there is nothing here that keeps one."""
        logger.error(
            "Task %s with id %s will not run again (%s): %s", message.task_name, message.task_id, reason, detail
        )

    async def shutdown(self) -> None:
        """Drop what still waits, then shut down."""
        for task in self._waiting:
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)
        await super().shutdown()

    def _wait(self, message: BrokerMessage, delay: float) -> None:
        task = asyncio.create_task(self._kick_later(message, delay))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _kick_later(self, message: BrokerMessage, delay: float) -> None:
        await asyncio.sleep(delay)
        await super().kick(message)
