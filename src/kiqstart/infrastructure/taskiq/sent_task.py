"""A task that was sent, and waited for without polling."""

from functools import cache
from logging import getLogger
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast, runtime_checkable

from taskiq import AsyncTaskiqTask, TaskiqResult
from taskiq.compat import create_type_adapter
from taskiq.exceptions import ResultGetError, TaskiqResultTimeoutError

from kiqstart.infrastructure.taskiq.streams.errors import UnreadableResultError
from kiqstart.infrastructure.taskiq.streams.raisable import raisable

if TYPE_CHECKING:
    from collections.abc import Hashable

    from pydantic import TypeAdapter

logger = getLogger(__name__)

ReturnType = TypeVar("ReturnType")


@runtime_checkable
class WaitingResultBackend(Protocol):
    """A result backend that can wait."""

    async def wait(self, task_id: str, timeout: float | None) -> TaskiqResult[Any] | None:  # noqa: ASYNC109  # None waits for ever
        """Wait for the result; None where `timeout` seconds have passed (None waits for ever)."""
        ...

    async def forget(self, task_id: str) -> None:
        """Remove the result and the progress."""
        ...


@cache
def _can_wait(backend: type[object]) -> bool:
    # Python looks through all attributes of a protocol each time.
    return issubclass(backend, WaitingResultBackend)


class SentTask(AsyncTaskiqTask[ReturnType]):
    """A task that was sent."""

    async def get_result(self, with_logs: bool = False) -> TaskiqResult[ReturnType]:
        """The result, if there is one.

        Raises:
            UnreadableResultError: what is stored is no result, or one of a version that this one cannot read.
            ResultGetError: there is none, or no longer; or the result backend fails otherwise.
        """
        try:
            return _raisable(await super().get_result(with_logs))
        except ResultGetError as error:
            if isinstance(error.__cause__, UnreadableResultError):
                raise error.__cause__ from None
            raise

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
            UnreadableResultError: what is stored is no result, or one of a version that this one cannot read.
            ResultGetError: the result backend fails otherwise.
        """
        backend = self.result_backend
        if not _can_wait(type(backend)):
            return _raisable(await super().wait_result(check_interval, timeout, with_logs))
        try:
            result = await cast("WaitingResultBackend", backend).wait(self.task_id, timeout if timeout > 0 else None)
        except ResultGetError:
            raise
        except Exception as error:
            raise ResultGetError from error
        if result is None:
            raise TaskiqResultTimeoutError(timeout=timeout)
        if self.return_type is not None and not result.is_err:
            try:
                # Models are written by the names of their fields, whatever their aliases are.
                adapter: TypeAdapter[Any] = create_type_adapter(cast("Hashable", self.return_type))
                result.return_value = adapter.validate_python(result.return_value, by_alias=True, by_name=True)
            except ValueError:
                logger.warning("The result of task %s is no %s", self.task_id, self.return_type)
        return result

    async def forget(self) -> None:
        """Remove the result and the progress of a task that has ended, before `result_ttl` does.

        Raises:
            NotImplementedError: the results are with a backend that is not kiqstart's.
            RedisError: Redis is away.
        """
        if not isinstance(self.result_backend, WaitingResultBackend):
            raise NotImplementedError(f"{type(self.result_backend).__name__} cannot remove a result")
        await self.result_backend.forget(self.task_id)


def _raisable(result: TaskiqResult[ReturnType]) -> TaskiqResult[ReturnType]:
    # Of another backend, as it was; with kiqstart's own this is done already.
    if result.error is not None:
        result.error = raisable(result.error)
    return result
