"""Tasks as a caller sees them: sent with a delay or at a time, and waited for without polling."""

from contextvars import ContextVar
from copy import copy
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Protocol, TypeVar, cast, overload, runtime_checkable

from taskiq import AsyncTaskiqDecoratedTask, AsyncTaskiqTask, TaskiqResult
from taskiq.exceptions import SendTaskError, TaskiqResultTimeoutError
from taskiq.kicker import AsyncKicker

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import CoroutineType

P = ParamSpec("P")
R = TypeVar("R")
ReturnType = TypeVar("ReturnType")

# Seconds from now, as other taskiq brokers have it; and seconds since the Unix epoch.
DELAY_LABEL: Final = "delay"
DUE_LABEL: Final = "due"
# A key of which one task waits or runs at a time; '' for none.
UNIQUE_LABEL: Final = "unique"
QUEUE_LABEL: Final = "queue_name"

# A broker tells the kicker that a message was not sent, since this task has its unique key.
held_by: ContextVar[str | None] = ContextVar("held_by", default=None)


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


class Kicker(AsyncKicker[P, R]):
    """Sends a task with options of this one call."""

    def after(self, seconds: float) -> "Kicker[P, R]":
        """Let it be due in so many seconds; until then it waits in Redis."""
        self.labels[DELAY_LABEL] = float(seconds)
        return self

    def at(self, time: datetime) -> "Kicker[P, R]":
        """Let it be due at a time; Redis' clock says when that is.

        Raises:
            ValueError: the time has no time zone.
        """
        if time.tzinfo is None:
            raise ValueError(f"{time} has no time zone: write datetime(…, tzinfo=UTC)")
        self.labels[DUE_LABEL] = time.timestamp()
        return self

    @overload
    async def kiq(
        self: "Kicker[P, CoroutineType[Any, Any, ReturnType]]", *args: P.args, **kwargs: P.kwargs
    ) -> SentTask[ReturnType]: ...

    @overload
    async def kiq(
        self: "Kicker[P, Coroutine[Any, Any, ReturnType]]", *args: P.args, **kwargs: P.kwargs
    ) -> SentTask[ReturnType]: ...

    @overload
    async def kiq(self: "Kicker[P, ReturnType]", *args: P.args, **kwargs: P.kwargs) -> SentTask[ReturnType]: ...

    async def kiq(self, *args: P.args, **kwargs: P.kwargs) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]  # `self` is narrower
        """Send it.

        Where it has a unique key that a waiting or running task holds, nothing is sent, and that task is returned.

        Raises:
            SendTaskError: it could not be sent; `SendFailedError` where the broker says why.
            InvalidTaskArgumentsError: it does not take these arguments; nothing was sent.
        """
        held_by.set(None)
        try:
            task = cast("AsyncTaskiqTask[Any]", await super().kiq(*args, **kwargs))
        except SendTaskError as error:
            # taskiq puts an error of its own, which says nothing, around the broker's.
            if isinstance(error.__cause__, SendTaskError):
                raise error.__cause__ from None
            raise
        return SentTask(held_by.get() or task.task_id, task.result_backend, task.return_type)


class Task(AsyncTaskiqDecoratedTask[P, R]):
    """A registered task."""

    @overload
    async def kiq(
        self: "Task[P, CoroutineType[Any, Any, ReturnType]]", *args: P.args, **kwargs: P.kwargs
    ) -> SentTask[ReturnType]: ...

    @overload
    async def kiq(
        self: "Task[P, Coroutine[Any, Any, ReturnType]]", *args: P.args, **kwargs: P.kwargs
    ) -> SentTask[ReturnType]: ...

    @overload
    async def kiq(self: "Task[P, ReturnType]", *args: P.args, **kwargs: P.kwargs) -> SentTask[ReturnType]: ...

    async def kiq(self, *args: P.args, **kwargs: P.kwargs) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]  # `self` is narrower
        """Send it; see `Kicker.kiq`."""
        return await self.kicker().kiq(*args, **kwargs)

    def kicker(self) -> Kicker[P, R]:
        """Set options for one call: `await task.kicker().after(60).kiq(…)`."""
        return Kicker(
            task_name=self.task_name, broker=self.broker, labels=copy(self.labels), return_type=self.return_type
        )
