"""A task that was sent, and waited for without polling."""

import asyncio
import math
from functools import cache
from logging import getLogger
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar, cast, runtime_checkable

from taskiq import AsyncBroker, AsyncResultBackend, AsyncTaskiqTask, TaskiqResult
from taskiq.compat import create_type_adapter
from taskiq.exceptions import ResultGetError, TaskiqResultTimeoutError

from kiqstart.tasks.caller_types import number
from kiqstart.tasks.results.errors import UnreadableResultError, raisable

if TYPE_CHECKING:
    from collections.abc import Hashable

    from pydantic import TypeAdapter

logger = getLogger(__name__)

ReturnType = TypeVar("ReturnType")

_SECONDS_TO_EXPLAIN: Final = 1.0


@runtime_checkable
class WaitingResultBackend(Protocol):
    """A result backend that can wait."""

    async def wait(self, task_id: str, timeout: float | None) -> TaskiqResult[Any] | None:  # noqa: ASYNC109  # None waits for ever
        """Wait for the result; None where `timeout` seconds have passed (None waits for ever)."""
        ...

    async def forget(self, task_id: str) -> None:
        """Remove the result and the progress."""


@cache
def _can_wait(backend: type[object]) -> bool:
    # Python looks through all attributes of a protocol each time.
    return issubclass(backend, WaitingResultBackend)


@runtime_checkable
class QueueServer(Protocol):
    """A broker that knows which queues are taken."""

    async def is_served(self, queue: str) -> bool:
        """Whether a worker that lives takes a queue."""
        ...


class ResultTimeoutError(TaskiqResultTimeoutError):
    """A task had no result in time; it may have one later."""

    __template__ = "{problem}"
    problem: str


class Origin(NamedTuple):
    """What a task was sent as; one for each that is sent, so it is made quickly.

    Args:
        broker: by which.
        task_name: of the task.
        queue: in which it waits.
    """

    broker: AsyncBroker
    task_name: str
    queue: str


class SentTask(AsyncTaskiqTask[ReturnType]):
    """A task that was sent.

    Args:
        task_id: its id.
        result_backend: where its result will be.
        return_type: what a result is parsed to; None leaves it as it is in JSON.
        origin: what it was sent as, where that is known.
    """

    def __init__(
        self,
        task_id: str,
        result_backend: AsyncResultBackend[ReturnType],
        return_type: type[ReturnType] | None = None,
        origin: Origin | None = None,
    ) -> None:
        super().__init__(task_id, result_backend, return_type)
        self.origin = origin

    def __repr__(self) -> str:
        return f"<SentTask {self._called}>"

    @property
    def _called(self) -> str:
        return f"{self.origin.task_name} {self.task_id}" if self.origin is not None else self.task_id

    async def result(self, timeout: float | None = None) -> ReturnType:  # noqa: ASYNC109  # as `wait_result` has it
        """Wait for what the task returns.

        Args:
            timeout: seconds to wait; None waits for ever.

        Raises:
            Exception: the error that the task has ended with.
            TypeError: the time-out is no number.
            ValueError: it is not above 0.
            ResultTimeoutError: there was no result in time; it says so if no worker takes the task's queue.
            UnreadableResultError: what is stored is no result, or one of a version that this one cannot read.
            ResultGetError: the result backend fails otherwise.
        """
        seconds = -1.0 if timeout is None else number(timeout, "result(timeout=…)", "seconds, None for ever")
        if timeout is not None and not seconds > 0:
            raise ValueError(f"timeout={timeout}: it is a number of seconds above 0, or None to wait for ever")
        result = await self.wait_result(timeout=seconds)
        result.raise_for_error()
        return result.return_value

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
            ResultTimeoutError: there was no result in time; it says so if no worker takes the task's queue.
            TypeError: the time-out is no number.
            ValueError: it is NaN.
            UnreadableResultError: what is stored is no result, or one of a version that this one cannot read.
            ResultGetError: the result backend fails otherwise.
        """
        timeout = number(timeout, "wait_result(timeout=…)", "seconds, 0 for ever")
        if math.isnan(timeout):
            raise ValueError("wait_result(timeout=nan): write a number of seconds, 0 for ever")
        backend = self.result_backend
        if not _can_wait(type(backend)):
            try:
                return _raisable(await super().wait_result(check_interval, timeout, with_logs))
            except TaskiqResultTimeoutError:
                raise await self._timed_out(timeout) from None
        try:
            result = await cast("WaitingResultBackend", backend).wait(self.task_id, timeout if timeout > 0 else None)
        except ResultGetError:
            raise
        except Exception as error:
            raise ResultGetError from error
        if result is None:
            raise await self._timed_out(timeout)
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

    async def _timed_out(self, seconds: float) -> ResultTimeoutError:
        problem = f"{self._called} had no result within {seconds:g} s"
        if (origin := self.origin) is not None and isinstance(origin.broker, QueueServer):
            try:
                async with asyncio.timeout(_SECONDS_TO_EXPLAIN):
                    if not await origin.broker.is_served(origin.queue):
                        problem += f": no worker takes the queue {origin.queue!r}"
            except Exception as error:  # noqa: BLE001  # the time is up, whatever cannot be learned
                why = "there is no answer" if isinstance(error, TimeoutError) else error
                problem += f": whether a worker takes its queue is not known: {why}"
        return ResultTimeoutError(problem=problem, timeout=seconds)


def _raisable(result: TaskiqResult[ReturnType]) -> TaskiqResult[ReturnType]:
    # Of another backend, as it was; with kiqstart's own this is done already.
    if result.error is not None:
        result.error = raisable(result.error)
    return result
