"""Sending many calls of one task."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Generic, ParamSpec, Protocol, runtime_checkable

from taskiq import AsyncBroker, BrokerMessage, TaskiqMessage
from taskiq.exceptions import SendTaskError

from kiqstart.redis.loop_local import InheritedLoopError, running_loop
from kiqstart.tasks.formatting import JsonFormatter, MessageTemplate, Outgoing
from kiqstart.tasks.hooks import after_send, before_send, hooks_of
from kiqstart.tasks.sent_task import Origin, SentTask
from kiqstart.tasks.written import written

P = ParamSpec("P")

# A step of Redis that takes about a millisecond.
_MOST_AT_ONCE: Final = 500
_BYTES_AT_ONCE: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Call(Generic[P]):
    """The arguments of one call: made by `Task.call`, which checks their types."""

    args: tuple[object, ...]
    kwargs: dict[str, object]


class BulkSendFailedError(SendTaskError):
    """One of many calls failed; a few beside it may have been sent, and none of those that come later.

    Args:
        reason: what went wrong first.
        number: which call that was, counted from 1.
        sent: how many were sent.
        tasks: for the first calls, each one's task, or None where it was not sent; of the calls beyond, none was sent.
    """

    __template__ = "call {number}: {reason} ({sent} calls were sent)"
    reason: str
    number: int
    sent: int
    tasks: list[Any]


@runtime_checkable
class BulkBroker(Protocol):
    """A broker that sends many messages in one step."""

    def kick_many(self, messages: Sequence[Outgoing]) -> Awaitable[Sequence[str | BaseException]]:
        """Send messages; for each, its task's id, or that of the task that has its unique key, or an error."""
        ...


@dataclass(slots=True)
class _Step:
    """Messages that are sent at once; where middlewares are told of each, what they saw and in which context."""

    messages: list[Outgoing] = field(default_factory=list)
    seen: list[tuple[TaskiqMessage, Context]] = field(default_factory=list)


class BulkSending:
    """Sends calls in steps; while one is under way, the messages of the next are made.

    Args:
        broker: where they go.
        task_name: whose calls they are.
        prepare: makes a message of a call's arguments.
        prepare_argument: what it makes of one of them.
        return_type: of the task; results are parsed to it.
        origin: what they are sent as.
    """

    def __init__(
        self,
        broker: AsyncBroker,
        *,
        task_name: str,
        prepare: Callable[..., TaskiqMessage],
        prepare_argument: Callable[[object], object],
        return_type: type[Any] | None,
        origin: Origin,
    ) -> None:
        self._broker = broker
        self._task_name = task_name
        self._prepare = prepare
        self._prepare_argument = prepare_argument
        self._return_type = return_type
        self._origin = origin
        hooks = hooks_of(broker)
        self._is_watched = bool(hooks.pre_send or hooks.post_send)
        self._is_told = bool(hooks.post_send)
        self._template: MessageTemplate | None = None
        self._made = 0
        self._tasks: list[SentTask[Any] | None] = []
        self._failure: tuple[int, BaseException] | None = None

    async def send(self, calls: Iterable[Call[...]]) -> list[SentTask[Any]]:
        """Send the calls.

        Raises:
            BulkSendFailedError: at least one was not sent.
        """
        try:
            running_loop()
        except InheritedLoopError as inherited:
            raise BulkSendFailedError(reason=str(inherited), number=1, sent=0, tasks=[]) from None
        left = iter(calls)
        under_way: asyncio.Task[bool] | None = None
        while True:
            step = await self._next_step(left)
            if under_way is not None and not await under_way:
                break
            if not step.messages:
                break
            under_way = asyncio.create_task(self._send(step))
            # Its command goes out while the next messages are made.
            await asyncio.sleep(0)
        sent = [task for task in self._tasks if task is not None]
        if self._failure is not None:
            number, error = self._failure
            text = str(error) or type(error).__name__
            raise BulkSendFailedError(reason=text, number=number, sent=len(sent), tasks=self._tasks) from error
        return sent

    async def _next_step(self, calls: Iterator[Call[...]]) -> _Step:
        """The next messages; none after a failure, and those before a call that fails now."""
        step, size = _Step(), 0
        if self._failure is not None:
            return step
        try:
            for call in islice(calls, _MOST_AT_ONCE):
                message = await self._message(call, step)
                step.messages.append(message)
                self._made += 1
                size += len(message.message)
                if size >= _BYTES_AT_ONCE:
                    break
        except Exception as error:  # noqa: BLE001  # raised when those before are sent
            self._note_failure(self._made + 1, error)
        return step

    async def _message(self, call: Call[...], step: _Step) -> Outgoing:
        if not isinstance(call, Call):  # pyright: ignore[reportUnnecessaryIsInstance]  # not every caller's types are checked
            raise TypeError(f"kiq_many takes what Task.call gives, not {call!r}")
        if self._template is not None:
            template, task_id = self._template, self._broker.id_generator()
            quick = template.message_of_scalars(task_id, call.args, call.kwargs)
            if quick is not None:
                return quick
            args = [self._prepare_argument(value) for value in call.args]
            kwargs = {name: self._prepare_argument(value) for name, value in call.kwargs.items()}
            return written(self._task_name, call.args, call.kwargs, template.message, task_id, args, kwargs)
        message = self._prepare(*call.args, **call.kwargs)
        formatter = self._broker.formatter
        if not self._is_watched and isinstance(formatter, JsonFormatter):
            self._template = formatter.template(message)
        if not self._is_told:
            message = await before_send(self._broker, message)
            return written(self._task_name, call.args, call.kwargs, formatter.dumps, message)
        # A middleware may leave something in the context until it is told, as tracing does with its span.
        context = copy_context()
        message = await asyncio.create_task(before_send(self._broker, message), context=context)
        outgoing = written(self._task_name, call.args, call.kwargs, formatter.dumps, message)
        step.seen.append((message, context))
        return outgoing

    async def _send(self, step: _Step) -> bool:
        """Send a step's messages; False where something failed, with the failure noted."""
        first, is_well = len(self._tasks) + 1, True
        for number, answer in enumerate(await self._kick(step.messages), first):
            if isinstance(answer, BaseException):
                self._tasks.append(None)
                self._note_failure(number, answer)
                is_well = False
            else:
                self._tasks.append(SentTask(answer, self._broker.result_backend, self._return_type, self._origin))
        for number, (task, (message, context)) in enumerate(
            zip(self._tasks[first - 1 :], step.seen, strict=False), first
        ):
            if task is not None:
                try:
                    await asyncio.create_task(after_send(self._broker, message), context=context)
                except Exception as error:  # noqa: BLE001  # raised when all have been told
                    self._note_failure(number, error)
                    is_well = False
        return is_well

    def _note_failure(self, number: int, error: BaseException) -> None:
        if self._failure is None or number < self._failure[0]:
            self._failure = number, error

    async def _kick(self, messages: Sequence[Outgoing]) -> Sequence[str | BaseException]:
        answers: list[str | BaseException] = []
        try:
            if isinstance(self._broker, BulkBroker):
                return await self._broker.kick_many(messages)
            for message in messages:
                await self._broker.kick(_broker_message(message))
                answers.append(message.task_id)
        except Exception as error:  # noqa: BLE001  # raised with the tasks that were sent
            answers.append(error)
        return answers


def _broker_message(message: Outgoing) -> BrokerMessage:
    return BrokerMessage(
        task_id=message.task_id, task_name=message.task_name, message=message.message, labels=dict(message.labels)
    )
