"""Sending a task with options of one call."""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from taskiq import BrokerMessage, ScheduleSource, TaskiqMessage
from taskiq.exceptions import SendTaskError
from taskiq.scheduler.created_schedule import CreatedSchedule
from taskiq.scheduler.scheduled_task import CronSpec

from kiqstart.tasks.bulk import BulkBroker, BulkSending, Call
from kiqstart.tasks.caller_types import moment, shown, text, whole_seconds
from kiqstart.tasks.formatting import JsonFormatter
from kiqstart.tasks.hooks import Hooks, before_send, changed, finished, hooks_of
from kiqstart.tasks.kicker_options import KickerOptions
from kiqstart.tasks.labels import DEFAULT_QUEUE, QUEUE_LABEL, SEND_LABEL
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


class Kicker(KickerOptions[P, R]):
    """Sends a task with options of this one call."""

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
