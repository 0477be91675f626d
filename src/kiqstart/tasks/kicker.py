"""Sending a task with options of one call."""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime, timedelta
from time import time as now
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Self, TypeVar, cast, overload

from taskiq import AsyncBroker, BrokerMessage, ScheduleSource, TaskiqMessage
from taskiq.exceptions import SendTaskError
from taskiq.kicker import AsyncKicker
from taskiq.labels import LabelType, prepare_label
from taskiq.scheduler.created_schedule import CreatedSchedule
from taskiq.scheduler.scheduled_task import CronSpec

from kiqstart.observability.task_fields import current_run
from kiqstart.tasks.bulk import BulkBroker, BulkSending, Call
from kiqstart.tasks.caller_types import moment, number, shown, text, whole_seconds
from kiqstart.tasks.colliding_keys import WITHOUT_PARTS
from kiqstart.tasks.formatting import JsonFormatter
from kiqstart.tasks.hooks import Hooks, before_send, changed, finished, hooks_of
from kiqstart.tasks.label_values import option_problem
from kiqstart.tasks.labels import (
    DEFAULT_QUEUE,
    DELAY_LABEL,
    DUE_LABEL,
    MAX_DELAY_SECONDS,
    QUEUE_LABEL,
    SEND_LABEL,
    SENT_BY_LABEL,
)
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
# The kicker tells a broker which id it has made: no other task can have had it, as it can have had any other id.
made_id: ContextVar[str | None] = ContextVar("made_id", default=None)


# Exceptions that are retried: the worker has them of the task itself, and taskiq sends none.
_LOCAL: Final = "types_of_exceptions"
_LABEL_TYPES: Final[Mapping[type, int]] = {
    one: LabelType[one.__name__.upper()].value for one in (int, str, float, bool)
}


class Kicker(AsyncKicker[P, R]):
    """Sends a task with options of this one call."""

    # Why it cannot be sent. Only the send fails of it, and not the statement that makes several of them.
    _refusal = ""
    _given: Mapping[str, object] = MappingProxyType({})

    def with_labels(self, **labels: str | float | None) -> Self:
        """Set labels beside, or in place of, those of the task; None takes one away.

        Options of the task, such as `timeout`, `max_retries` and `retry_delay`, can be set for this call.

        Raises:
            TypeError: `queue_name` is no text, or `delay` or `due` neither a number nor a text with one.
        """
        if labels.get(QUEUE_LABEL) is not None:
            text(labels[QUEUE_LABEL], "with_labels(queue_name=…)", "a queue's name")
        for name in (DELAY_LABEL, DUE_LABEL):
            if not isinstance(labels.get(name), str | None):
                number(labels[name], f"with_labels({name}=…)", "seconds")
        self._given = {**self._given, **labels}
        super().with_labels(**cast("dict[str, str | float]", labels))
        return self

    def with_task_id(self, task_id: str | None) -> Self:
        """Give it an id of one's own. The result that an earlier task of that id has left is removed when it is sent.

        It may be any text of 1 to 8192 bytes that does not end with `__progress`; the send of another one fails.

        Raises:
            TypeError: it is no text.
        """
        if task_id is not None:
            text(task_id, "with_task_id(…)", "a task's id")
        super().with_task_id(task_id)
        return self

    def with_schedule_id(self, schedule_id: str) -> Self:
        """Name the schedule that is added.

        Raises:
            TypeError: it is no text.
        """
        super().with_schedule_id(text(schedule_id, "with_schedule_id(…)", "a schedule's name"))
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
        self.labels[DUE_LABEL] = due = max(moment(time, "at(…)").timestamp(), 0.0)
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
            ValueError: it would be due in more than ten years, a label is no value of its option, or its id is
                no UTF-8; nothing was sent.
        """
        hooks = hooks_of(self.broker)
        tracing = hooks.tracing
        if tracing is None:
            return await self._send(hooks, self._prepare_message(*args, **kwargs), args, kwargs)
        with tracing.sending(self.task_name, self._queue) as span:
            message = span.carry(self._prepare_message(*args, **kwargs))
            sent = await self._send(hooks, message, args, kwargs)
            span.sent(sent.task_id, is_duplicate=held_by.get() is not None)
        return sent

    async def _send(
        self, hooks: Hooks, message: TaskiqMessage, args: Sequence[object], kwargs: Mapping[str, object]
    ) -> SentTask[Any]:
        broker = self.broker
        made = message.task_id if self.custom_task_id is None else None
        if hooks.pre_send:
            message = await changed(hooks.pre_send, message)
        held_by.set(None)
        made_id.set(made)
        if message.task_id != made and isinstance(broker, BulkBroker):
            message.labels[SEND_LABEL] = uuid.uuid4().hex
        formatter = broker.formatter
        write = formatter.outgoing if isinstance(formatter, JsonFormatter) else formatter.dumps
        outgoing = written(self.task_name, args, kwargs, write, message)
        try:
            await broker.kick(cast("BrokerMessage", outgoing))
        except SendTaskError:
            raise
        except Exception as error:
            # taskiq's word for whatever a broker raises.
            raise SendTaskError from error
        for hook in hooks.post_send:
            await finished(hook(message))
        return self.sent(held_by.get() or message.task_id)

    async def message_of(self, *args: P.args, **kwargs: P.kwargs) -> BrokerMessage:
        """What `kiq` would send, as its middlewares leave it; it is not sent.

        Raises:
            InvalidTaskArgumentsError: it does not take these arguments, or they are no JSON.
            ValueError: it would be due in more than ten years, or a label is no value of its option.
        """
        message = await before_send(self.broker, self._prepare_message(*args, **kwargs))
        return written(self.task_name, args, kwargs, self.broker.formatter.dumps, message)

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
        tracing, several = hooks_of(self.broker).tracing, cast("Iterable[Call[...]]", calls)
        if tracing is None:
            return await self._bulk(self._prepare_message).send(several)
        with tracing.sending(self.task_name, self._queue) as span:

            def prepare(*args: object, **kwargs: object) -> TaskiqMessage:
                return span.carry(self._prepare_message(*args, **kwargs))

            sent = await self._bulk(prepare).send(several)
            span.sent_many(len(sent))
        return sent

    def _bulk(self, prepare: Callable[..., TaskiqMessage]) -> BulkSending:
        return BulkSending(
            self.broker,
            task_name=self.task_name,
            prepare=prepare,
            prepare_argument=self._prepare_arg,
            return_type=self.return_type,
            origin=self._origin(),
        )

    async def schedule_by_cron(
        self, source: ScheduleSource, cron: str | CronSpec, *args: P.args, **kwargs: P.kwargs
    ) -> CreatedSchedule[R]:
        """Add a schedule with a cron expression, in UTC unless a `CronSpec` has an offset.

        Raises:
            TypeError: it is neither text nor a `CronSpec`.
            ScheduleError: the schedule cannot be kept.
            InvalidTaskArgumentsError: the task does not take these arguments, or they are no JSON.
        """
        if not isinstance(cron, CronSpec):
            text(cron, "schedule_by_cron(…)", "a cron expression")
        self._check_written(args, kwargs)
        return await super().schedule_by_cron(source, cron, *args, **kwargs)

    async def schedule_by_interval(
        self, source: ScheduleSource, interval: float | timedelta, *args: P.args, **kwargs: P.kwargs
    ) -> CreatedSchedule[R]:
        """Add a schedule that is due each time so many seconds have passed.

        Raises:
            TypeError: it is neither a number nor a timedelta.
            ValueError: it is no whole number of seconds, or not from one to those of a hundred years.
            ScheduleError: the schedule cannot be kept.
            InvalidTaskArgumentsError: the task does not take these arguments, or they are no JSON.
        """
        every = whole_seconds(interval, "schedule_by_interval(…)")
        self._check_written(args, kwargs)
        return await super().schedule_by_interval(source, every, *args, **kwargs)

    async def schedule_by_time(
        self, source: ScheduleSource, time: datetime, *args: P.args, **kwargs: P.kwargs
    ) -> CreatedSchedule[R]:
        """Add a schedule that is due once.

        Raises:
            TypeError: it is no datetime.
            ValueError: the time has no time zone.
            ScheduleError: the schedule cannot be kept.
            InvalidTaskArgumentsError: the task does not take these arguments, or they are no JSON.
        """
        at = moment(time, "schedule_by_time(…)")
        self._check_written(args, kwargs)
        return await super().schedule_by_time(source, at, *args, **kwargs)

    def sent(self, task_id: str) -> SentTask[Any]:
        """A task that was sent, by its id."""
        return SentTask(task_id, self.broker.result_backend, self.return_type, self._origin())

    def _check_written(self, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
        """Refuse arguments that `kiq` would: a schedule has of a model what it has become, and not what it was."""
        written(self.task_name, args, kwargs, self.broker.formatter.dumps, self._prepare_message(*args, **kwargs))

    @property
    def _queue(self) -> str:
        return str(self.labels.get(QUEUE_LABEL) or DEFAULT_QUEUE)

    def _origin(self) -> Origin:
        return Origin(self.broker, self.task_name, self._queue)

    def _prepare_message(self, *args: object, **kwargs: object) -> TaskiqMessage:
        problem = self._refusal or (self._given and option_problem(self._given))
        if problem:
            raise ValueError(problem)
        labels = self.labels
        if (sender := current_run.get()) is not None:
            labels = {SENT_BY_LABEL: sender.task_id, **labels}
        texts, types = _prepared(labels) if labels else ({}, {})
        return TaskiqMessage(
            task_id=self.broker.id_generator() if self.custom_task_id is None else self.custom_task_id,
            task_name=self.task_name,
            labels=texts,
            labels_types=types,
            args=list(map(self._prepare_arg, args)),
            kwargs={name: self._prepare_arg(one) for name, one in kwargs.items()} if kwargs else {},
        )

    @classmethod
    def _prepare_arg(cls, arg: object) -> object:
        # Most have nothing that taskiq would make something else of, and are many.
        return arg if type(arg) in WITHOUT_PARTS else super()._prepare_arg(arg)


def _prepared(labels: Mapping[str, object]) -> tuple[dict[str, str], dict[str, int]]:
    """Labels as taskiq sends them, and the numbers of their types; its own way takes several times as long."""
    texts: dict[str, str] = {}
    types: dict[str, int] = {}
    for name, label in labels.items():
        # A label of None is one that is not set; taskiq would send the text "None".
        if label is None or name == _LOCAL:
            continue
        kind = _LABEL_TYPES.get(type(label))
        texts[name], types[name] = prepare_label(label) if kind is None else (str(label), kind)
    return texts, types
