"""Keeps results of other backends from being lost in an outage."""

import asyncio
from logging import getLogger
from typing import Generic, TypeVar

from taskiq import AsyncResultBackend, TaskiqResult
from taskiq.depends.progress_tracker import TaskProgress

from kiqstart.broker.delivery import current_delivery
from kiqstart.broker.redis_retry import pause, reason
from kiqstart.clock import local_time
from kiqstart.tasks.results.error_decoding import with_short_chain
from kiqstart.tasks.results.errors import UnserializableResultError
from kiqstart.tasks.results.result_labels import sendable_labels

logger = getLogger(__name__)

ReturnType = TypeVar("ReturnType")


class RetryingResultBackend(AsyncResultBackend[ReturnType], Generic[ReturnType]):
    """Another result backend, which is asked again where it cannot store a result at once.

    Args:
        backend: the one that stores.
        deadline: seconds for which it is asked.
    """

    def __init__(self, backend: AsyncResultBackend[ReturnType], *, deadline: float) -> None:
        self.backend = backend
        self._deadline = deadline

    async def startup(self) -> None:
        """Start the backend."""
        await self.backend.startup()

    async def shutdown(self) -> None:
        """Stop the backend."""
        await self.backend.shutdown()

    async def set_result(self, task_id: str, result: TaskiqResult[ReturnType]) -> None:
        """Store a result, unless another worker has the task by now.

        A result that cannot be serialised becomes that error, if that is not for a label, which then is left out. Of an
        error with a long chain only the first links are handed over: taskiq's own way to serialise it takes twice the
        time for each link.

        Raises:
            Exception: what the backend raised last, after the deadline.
        """
        delivery = current_delivery.get()
        if delivery is not None and delivery.is_lost:
            return
        if result.error is not None:
            result = result.model_copy(update={"error": with_short_chain(result.error)})
        deadline, tries = local_time() + self._deadline, 0
        while True:
            try:
                await self.backend.set_result(task_id, result)
            except (TypeError, ValueError) as error:
                labels = sendable_labels(task_id, result.labels)
                if labels is not result.labels:
                    result = result.model_copy(update={"labels": labels})
                    continue
                if isinstance(result.error, UnserializableResultError):
                    raise
                kind = type(result.return_value).__name__
                problem = UnserializableResultError(f"the task's result ({kind}) cannot be stored: {reason(error)}")
                result = result.model_copy(update={"is_err": True, "return_value": None, "error": problem})
            except Exception as error:
                if local_time() > deadline:
                    raise
                logger.warning("The result of task %s waits: %s", task_id, reason(error))
                await asyncio.sleep(pause(tries))
                tries += 1
            else:
                return

    async def is_result_ready(self, task_id: str) -> bool:
        """Whether there is a result."""
        return await self.backend.is_result_ready(task_id)

    async def get_result(self, task_id: str, with_logs: bool = False) -> TaskiqResult[ReturnType]:
        """The result of a task."""
        return await self.backend.get_result(task_id, with_logs)

    async def set_progress(self, task_id: str, progress: TaskProgress[ReturnType]) -> None:
        """Store a task's progress."""
        await self.backend.set_progress(task_id, progress)

    async def get_progress(self, task_id: str) -> TaskProgress[ReturnType] | None:
        """A task's progress, or None."""
        return await self.backend.get_progress(task_id)
