"""Tasks as a caller sees them: sent one by one or many at once, with a delay or at a time."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from taskiq import AsyncTaskiqDecoratedTask

from kiqstart.tasks.bulk import Call
from kiqstart.tasks.kicker import Kicker
from kiqstart.tasks.sent_task import SentTask

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import CoroutineType

P = ParamSpec("P")
R = TypeVar("R")
ReturnType = TypeVar("ReturnType")


class Task(AsyncTaskiqDecoratedTask[P, R]):
    """A registered task."""

    def __repr__(self) -> str:
        return f"<Task {self.task_name}>"

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

    @overload
    async def kiq_many(
        self: "Task[P, CoroutineType[Any, Any, ReturnType]]", calls: Iterable[Call[P]]
    ) -> list[SentTask[ReturnType]]: ...

    @overload
    async def kiq_many(
        self: "Task[P, Coroutine[Any, Any, ReturnType]]", calls: Iterable[Call[P]]
    ) -> list[SentTask[ReturnType]]: ...

    @overload
    async def kiq_many(self: "Task[P, ReturnType]", calls: Iterable[Call[P]]) -> list[SentTask[ReturnType]]: ...

    async def kiq_many(self, calls: Iterable[Call[P]]) -> Any:
        """Send it once for each call: `await task.kiq_many(task.call(user) for user in users)`."""
        return await self.kicker().kiq_many(calls)

    @overload
    def task(self: "Task[P, CoroutineType[Any, Any, ReturnType]]", task_id: str) -> SentTask[ReturnType]: ...

    @overload
    def task(self: "Task[P, Coroutine[Any, Any, ReturnType]]", task_id: str) -> SentTask[ReturnType]: ...

    @overload
    def task(self: "Task[P, ReturnType]", task_id: str) -> SentTask[ReturnType]: ...

    def task(self, task_id: str) -> Any:
        """One that was sent earlier, by its id: to wait for it, or to ask for its result and progress."""
        return self.kicker().sent(task_id)

    def call(self, *args: P.args, **kwargs: P.kwargs) -> Call[P]:
        """Arguments of one of many calls, for `kiq_many`."""
        return Call(args, kwargs)

    def kicker(self) -> Kicker[P, R]:
        """Set options for one call: `await task.kicker().after(60).kiq(…)`."""
        return Kicker(
            task_name=self.task_name, broker=self.broker, labels=self.labels.copy(), return_type=self.return_type
        )
