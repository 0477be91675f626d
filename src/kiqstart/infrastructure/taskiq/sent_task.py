"""A task that was sent, and waited for without polling."""

from typing import Protocol, TypeVar, runtime_checkable

from taskiq import AsyncTaskiqTask, TaskiqResult
from taskiq.exceptions import TaskiqResultTimeoutError

ReturnType = TypeVar("ReturnType")


@runtime_checkable
class WaitingResultBackend(Protocol):
    """A result backend that can wait."""

    async def wait(self, task_id: str, timeout: float | None) -> bool:  # noqa: ASYNC109  # None waits for ever
        """Wait until the result is there; False where `timeout` seconds have passed (None waits for ever)."""
        ...


class SentTask(AsyncTaskiqTask[ReturnType]):
    """A task that was sent."""

    async def wait_result(
        self,
        check_interval: float = 0.2,
        timeout: float = -1.0,  # noqa: ASYNC109  # taskiq's
        with_logs: bool = False,
    ) -> TaskiqResult[ReturnType]:
        """Wait for the result; the worker's announcement wakes the caller.

        Args:
            check_interval: seconds between two looks, for a result backend that cannot wait.
            timeout: seconds to wait; 0 or less waits for ever.
            with_logs: taskiq's; results have none here.

        Raises:
            TaskiqResultTimeoutError: there was no result in time.
            ResultGetError: it cannot be read.
        """
        backend = self.result_backend
        if not isinstance(backend, WaitingResultBackend):
            return await super().wait_result(check_interval, timeout, with_logs)
        if not await backend.wait(self.task_id, timeout if timeout > 0 else None):
            raise TaskiqResultTimeoutError(timeout=timeout)
        return await self.get_result(with_logs=with_logs)
