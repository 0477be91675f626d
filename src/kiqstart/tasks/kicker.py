"""Sending a task with options of one call."""

import uuid
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from datetime import datetime
from time import time as now
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, cast, overload

from taskiq import AsyncBroker, BrokerMessage, TaskiqMessage
from taskiq.exceptions import SendTaskError
from taskiq.kicker import AsyncKicker

from kiqstart.tasks.bulk import BulkBroker, BulkSending, Call
from kiqstart.tasks.caller_types import number, shown, text
from kiqstart.tasks.hooks import after_send, before_send
from kiqstart.tasks.label_values import option_problem
from kiqstart.tasks.labels import DEFAULT_QUEUE, DELAY_LABEL, DUE_LABEL, MAX_DELAY_SECONDS, QUEUE_LABEL, SEND_LABEL
from kiqstart.tasks.sent_task import Origin, SentTask
from kiqstart.tasks.written import written

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import CoroutineType

P = ParamSpec("P")
R = TypeVar("R")
ReturnType = TypeVar("ReturnType")

# A broker tells the kicker that a message was not sent, since this task has its unique key.
held_by: ContextVar[str | None] = ContextVar("held_by", default=None)
# The kicker tells a broker whether the message's id is one that others may have had; whoever does not say so may have.
has_own_id: ContextVar[bool] = ContextVar("has_own_id", default=True)


class Kicker(AsyncKicker[P, R]):
    """Sends a task with options of this one call."""

    # Why it cannot be sent. Only the send fails of it, and not the statement that makes several of them.
    _refusal = ""
    _given: Mapping[str, object] = MappingProxyType({})

    def with_labels(self, **labels: str | float | None) -> Self:
        """Set labels beside, or in place of, those of the task; None takes one away.

        Options of the task, such as `timeout`, `max_retries` and `retry_delay`, can be set for this call.

        Raises:
            TypeError: `queue_name` is no text.
        """
        if labels.get(QUEUE_LABEL) is not None:
            text(labels[QUEUE_LABEL], "with_labels(queue_name=…)", "a queue's name")
        self._given = {**self._given, **labels}
        super().with_labels(**cast("dict[str, str | float]", labels))
        return self

    def with_task_id(self, task_id: str | None) -> Self:
        """Give it an id of one's own. The result that an earlier task of that id has left is removed when it is sent.

        It may be any text up to 8192 bytes that does not end with `__progress`; the send of another one fails.

        Raises:
            TypeError: it is no text.
        """
        if task_id is not None:
            text(task_id, "with_task_id(…)", "a task's id")
        super().with_task_id(task_id)
        return self

    def with_broker(self, broker: AsyncBroker) -> Self:
        """Send it with another broker."""
        super().with_broker(broker)
        return self

    def after(self, seconds: float) -> "Kicker[P, R]":
        """Let it be due in a number of seconds, up to ten years; until then it waits in Redis. Zero or less is now.

        Raises:
            TypeError: it is no number.
        """
        self.labels[DELAY_LABEL] = delay = max(number(seconds, "after(…)", "seconds"), 0.0)
        if not delay <= MAX_DELAY_SECONDS:
            self._refusal = f"after({seconds}): a task can be due in at most 3650 days ({MAX_DELAY_SECONDS:.0f} s)"
        return self

    def at(self, time: datetime) -> "Kicker[P, R]":
        """Let it be due at a time, up to ten years ahead, by Redis' clock. A time that has passed is now.

        Raises:
            TypeError: it is no datetime.
            ValueError: the time has no time zone.
        """
        if not isinstance(time, datetime):  # pyright: ignore[reportUnnecessaryIsInstance]  # not every caller's types are checked
            raise TypeError(f"at(…) takes a datetime with a time zone, not {shown(time)}")
        if time.utcoffset() is None:
            raise ValueError(f"{time} has no time zone: write datetime(…, tzinfo=UTC)")
        self.labels[DUE_LABEL] = due = max(time.timestamp(), 0.0)
        if due - now() > MAX_DELAY_SECONDS:
            self._refusal = f"at({time}): a task can be due in at most 3650 days"
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
            InvalidTaskArgumentsError: it does not take these arguments, or they are no JSON; nothing was sent.
            ValueError: it would be due in more than ten years, or a label is no value of its option; nothing was sent.
        """
        broker = self.broker
        message = self._prepare_message(*args, **kwargs)
        made_id = message.task_id
        message = await before_send(broker, message)
        held_by.set(None)
        is_own = self.custom_task_id is not None or message.task_id != made_id
        if is_own and isinstance(broker, BulkBroker):
            message.labels[SEND_LABEL] = uuid.uuid4().hex
        outgoing = written(self.task_name, args, kwargs, lambda: broker.formatter.dumps(message))
        token = has_own_id.set(is_own)
        try:
            await _kick(broker, outgoing)
        finally:
            has_own_id.reset(token)
        await after_send(broker, message)
        return self.sent(held_by.get() or message.task_id)

    @overload
    async def kiq_many(
        self: "Kicker[P, CoroutineType[Any, Any, ReturnType]]", calls: Iterable[Call[P]]
    ) -> list[SentTask[ReturnType]]: ...

    @overload
    async def kiq_many(
        self: "Kicker[P, Coroutine[Any, Any, ReturnType]]", calls: Iterable[Call[P]]
    ) -> list[SentTask[ReturnType]]: ...

    @overload
    async def kiq_many(self: "Kicker[P, ReturnType]", calls: Iterable[Call[P]]) -> list[SentTask[ReturnType]]: ...

    async def kiq_many(self, calls: Iterable[Call[P]]) -> Any:
        """Send it once for each call, in their order, many in one round trip.

        A call of a unique key that another task holds is not sent, and that task is in its place.

        Args:
            calls: what `Task.call` gives, as many as there are: `task.call(user) for user in users`.

        Raises:
            TypeError: it is nothing of which there may be several.
            BulkSendFailedError: one was not sent, and so were none after its step; it has the tasks of those that were.
            ValueError: a task id of one's own, which only one task can have; or due in more than ten years.
        """
        if isinstance(calls, Call) or not isinstance(calls, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]  # not every caller's types are checked
            raise TypeError(f"kiq_many(…) takes calls, such as [task.call(7), task.call(8)], not {shown(calls)}")
        if self.custom_task_id is not None:
            raise ValueError("kiq_many sends several tasks: they cannot share a task id")
        sending = BulkSending(
            self.broker,
            task_name=self.task_name,
            prepare=self._prepare_message,
            prepare_argument=self._prepare_arg,
            return_type=self.return_type,
            origin=self._origin(),
        )
        return await sending.send(cast("Iterable[Call[...]]", calls))

    def sent(self, task_id: str) -> SentTask[Any]:
        """A task that was sent, by its id."""
        return SentTask[Any](task_id, self.broker.result_backend, self.return_type, self._origin())

    def _origin(self) -> Origin:
        queue = str(self.labels.get(QUEUE_LABEL) or DEFAULT_QUEUE)
        return Origin(broker=self.broker, task_name=self.task_name, queue=queue)

    def _prepare_message(self, *args: object, **kwargs: object) -> TaskiqMessage:
        problem = self._refusal or (self._given and option_problem(self._given))
        if problem:
            raise ValueError(problem)
        if None in self.labels.values():
            # A label of None is one that is not set; taskiq would send the text "None".
            self.labels = {name: value for name, value in self.labels.items() if value is not None}
        return super()._prepare_message(*args, **kwargs)


async def _kick(broker: AsyncBroker, message: BrokerMessage) -> None:
    try:
        await broker.kick(message)
    except SendTaskError:
        raise
    except Exception as error:
        # taskiq's word for whatever a broker raises.
        raise SendTaskError from error
