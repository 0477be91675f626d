"""A task that was sent, and waited for without polling."""

from logging import getLogger
from typing import Any, Protocol, TypeVar, runtime_checkable

from taskiq import AsyncTaskiqTask, TaskiqResult
from taskiq.compat import parse_obj_as
from taskiq.exceptions import ResultGetError, TaskiqResultTimeoutError

logger = getLogger(__name__)

ReturnType = TypeVar("ReturnType")


@runtime_checkable
class WaitingResultBackend(Protocol):
    """A result backend that can wait."""

    async def wait(self, task_id: str, timeout: float | None) -> TaskiqResult[Any] | None:  # noqa: ASYNC109  # None waits for ever
        """Wait for the result; None where `timeout` seconds have passed (None waits for ever)."""
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
        try:
            result = await backend.wait(self.task_id, timeout if timeout > 0 else None)
        except Exception as error:
            raise ResultGetError from error
        if result is None:
            raise TaskiqResultTimeoutError(timeout=timeout)
        if self.return_type is not None:
            try:
                result.return_value = parse_obj_as(self.return_type, result.return_value)
            except ValueError:
                logger.warning("The result of task %s is no %s", self.task_id, self.return_type)
        return result
