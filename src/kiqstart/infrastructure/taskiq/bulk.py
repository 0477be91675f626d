"""Sending many calls of one task."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Generic, ParamSpec, Protocol, runtime_checkable

from taskiq import AsyncBroker, BrokerMessage, TaskiqMessage
from taskiq.exceptions import SendTaskError

from kiqstart.infrastructure.taskiq.formatting import JsonFormatter, MessageTemplate, Outgoing
from kiqstart.infrastructure.taskiq.hooks import after_send, before_send, hooks_of
from kiqstart.infrastructure.taskiq.sent_task import SentTask

P = ParamSpec("P")

# A step of Redis that takes about a millisecond.
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Call(Generic[P]):
    """The arguments of one call: made by `Task.call`, which checks their types."""

    args: tuple[object, ...]
    kwargs: dict[str, object]


class BulkSendFailedError(SendTaskError):
    """Some of many calls were not sent, and none after these.

    Args:
        reason: what went wrong first.
        sent: how many were sent.
        tasks: for the first calls, each one's task, or None where it was not sent; of the calls beyond, none was sent.
    """

    __template__ = "{reason} ({sent} tasks of this call were sent)"
    reason: str
    sent: int
    tasks: list[Any]


@runtime_checkable
class BulkBroker(Protocol):
    """A broker that sends many messages in one step."""

    def kick_many(self, messages: Sequence[Outgoing]) -> Awaitable[Sequence[str | BaseException]]:
        """Send messages; for each, its task's id, or that of the task that has its unique key, or an error."""
        ...


class BulkSending:
    """Sends calls in steps; while one is under way, the messages of the next are made.

    Args:
        broker: where they go.
        prepare: makes a message of a call's arguments.
        return_type: of the task; results are parsed to it.
    """

    def __init__(
        self, broker: AsyncBroker, prepare: Callable[..., TaskiqMessage], return_type: type[Any] | None
    ) -> None:
        self._broker = broker
        self._prepare = prepare
        self._return_type = return_type
        hooks = hooks_of(broker)
        self._is_watched = bool(hooks.pre_send or hooks.post_send)
        self._template: MessageTemplate | None = None
        self._tasks: list[SentTask[Any] | None] = []
        self._error: BaseException | None = None

    async def send(self, calls: Iterable[Call[...]]) -> list[SentTask[Any]]:
        """Send the calls.

        Raises:
            BulkSendFailedError: at least one was not sent.
        """
        left = iter(calls)
        under_way: asyncio.Future[None] | None = None
        while True:
            messages = await self._next_messages(left)
            if under_way is not None:
                await under_way
            if not messages or None in self._tasks:
                break
            under_way = asyncio.ensure_future(self._kick(messages))
            # Its command goes out while the next messages are made.
            await asyncio.sleep(0)
        sent = [task for task in self._tasks if task is not None]
        if self._error is not None:
            raise BulkSendFailedError(
                reason=str(self._error) or type(self._error).__name__, sent=len(sent), tasks=self._tasks
            ) from self._error
        return sent

    async def _next_messages(self, calls: Iterator[Call[...]]) -> Sequence[Outgoing]:
        messages: list[Outgoing] = []
        if self._error is not None:
            return messages
        try:
            for call in islice(calls, _AT_ONCE):
                messages.append(await self._message(call))  # noqa: PERF401  # those before an error are kept
        except Exception as error:  # noqa: BLE001  # raised when those before are sent
            self._error = error
        return messages

    async def _message(self, call: Call[...]) -> Outgoing:
        if self._template is not None:
            return self._template.message(self._broker.id_generator(), call.args, call.kwargs)
        message = self._prepare(*call.args, **call.kwargs)
        formatter = self._broker.formatter
        if not self._is_watched and isinstance(formatter, JsonFormatter):
            self._template = formatter.template(message)
        return formatter.dumps(await before_send(self._broker, message))

    async def _kick(self, messages: Sequence[Outgoing]) -> None:
        answers = await self._kick_all(messages)
        for message, answer in zip(messages, answers, strict=True):
            if isinstance(answer, BaseException):
                self._error = self._error or answer
                self._tasks.append(None)
            else:
                self._tasks.append(SentTask(answer, self._broker.result_backend, self._return_type))
                if self._is_watched:
                    await after_send(self._broker, self._broker.formatter.loads(message.message))

    async def _kick_all(self, messages: Sequence[Outgoing]) -> Sequence[str | BaseException]:
        if isinstance(self._broker, BulkBroker):
            return await self._broker.kick_many(messages)
        answers: list[str | BaseException] = []
        for message in messages:
            try:
                await self._broker.kick(
                    BrokerMessage(
                        task_id=message.task_id,
                        task_name=message.task_name,
                        message=message.message,
                        labels=dict(message.labels),
                    )
                )
            except Exception as error:  # noqa: BLE001  # raised when all have been tried
                answers.append(error)
            else:
                answers.append(message.task_id)
        return answers
