"""Where messages go: to a queue, later, to the dead letters, or nowhere since their task was cancelled."""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from logging import getLogger
from typing import Final, cast

from taskiq import BrokerMessage

from kiqstart.infrastructure.taskiq.formatting import Outgoing
from kiqstart.infrastructure.taskiq.kicker import held_by
from kiqstart.infrastructure.taskiq.labels import DELAY_LABEL, DUE_LABEL, QUEUE_LABEL, UNIQUE_LABEL
from kiqstart.infrastructure.taskiq.streams.connection import Connection
from kiqstart.infrastructure.taskiq.streams.delivery import Again, Dead, DeadReason, Delivery
from kiqstart.infrastructure.taskiq.streams.keys import DEFAULT_QUEUE, QueueKeys
from kiqstart.infrastructure.taskiq.streams.options import StreamOptions
from kiqstart.infrastructure.taskiq.streams.script import Script, Value
from kiqstart.infrastructure.taskiq.streams.sender import SendFailedError, Sending

logger = getLogger(__name__)

_BURY: Final = Script("bury")
_CANCEL: Final = Script("cancel")


class Dispatcher:
    """Sends messages where their labels say; those of a task that runs here, in the step that ends its delivery.

    Args:
        connection: gives what the event loop has of Redis.
        delivery_of: finds the unsettled delivery of a task that runs in this process.
    """

    def __init__(
        self,
        connection: Callable[[], Connection],
        keys: QueueKeys,
        options: StreamOptions,
        *,
        delivery_of: Callable[[str], Delivery | None],
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._options = options
        self._delivery_of = delivery_of

    async def send(self, message: BrokerMessage) -> None:
        """Send a message as its labels say; `held_by` tells the kicker where another task has its unique key.

        Raises:
            SendFailedError: it was not sent.
        """
        labels = message.labels
        delivery = self._delivery_of(message.task_id)
        delay = label_seconds(labels, DELAY_LABEL)
        if delivery is not None:
            delivery.outcome = Again(message=message.message, delay=delay)
            return
        sent = await self._connection().sender.send(self._sending(message))
        if sent != message.task_id:
            logger.info("Task %s with id %s was not sent: %s holds its key", message.task_name, message.task_id, sent)
            held_by.set(sent)

    def send_many(self, messages: Sequence[Outgoing]) -> Awaitable[Sequence[str | BaseException]]:
        """Send messages of tasks that do not run here, in one step.

        Gives for each its task's id, or that of the task that has its unique key, or what `send` would raise.
        """
        return self._connection().sender.send_all([self._sending(one) for one in messages])

    async def retry(self, message: BrokerMessage, delay: float, *, is_first: bool) -> None:
        """Send a message again after `delay` seconds."""
        delivery = self._delivery_of(message.task_id)
        if delivery is not None:
            delivery.outcome = Again(message=message.message, delay=delay, is_first=is_first)
            return
        await self._connection().sender.send(
            Sending(stream=self._stream(message), task_id=message.task_id, message=message.message, delay=delay)
        )

    async def bury(self, message: BrokerMessage, reason: DeadReason, detail: str) -> None:
        """Make a message a dead letter."""
        delivery = self._delivery_of(message.task_id)
        if delivery is not None:
            delivery.outcome = Dead(reason=reason, detail=detail, message=message.message)
            return
        limit, text = self._options.dead_letter_limit, detail.encode(errors="backslashreplace")
        names = [self._keys.dead, self._keys.dropped]
        await _BURY(
            self._connection().redis, names, [limit, self._stream(message), reason.value, text, message.message]
        )

    async def cancel(self, task_id: str) -> bool:
        """Take a delayed task out, or mark one that may wait or run; True where it was delayed, and is gone."""
        keys = self._keys
        names = [keys.delayed, keys.delayed_messages, keys.cancelled, keys.uniques]
        arguments: list[Value] = [task_id, round(self._options.cancel_age * 1000)]
        return bool(await _CANCEL(self._connection().redis, names, arguments))

    def _sending(self, message: Outgoing) -> Sending:
        labels = message.labels
        if not labels:
            return Sending(stream=self._keys.name, task_id=message.task_id, message=message.message)
        stream, unique = self._stream(message), str(labels.get(UNIQUE_LABEL, ""))
        try:
            f"{stream}{unique}{message.task_id}".encode()
        except UnicodeEncodeError as error:
            # Of a whole batch, only this message cannot be sent.
            raise SendFailedError(
                problem=f"task {message.task_id!r}: its queue, key or id is no text: {error}"
            ) from None
        return Sending(
            stream=stream,
            task_id=message.task_id,
            message=message.message,
            delay=max(label_seconds(labels, DELAY_LABEL), 0.0),
            due=label_seconds(labels, DUE_LABEL) or None,
            unique=unique,
        )

    def _stream(self, message: Outgoing) -> str:
        return self._keys.stream(str(message.labels.get(QUEUE_LABEL, DEFAULT_QUEUE)))


def label_seconds(labels: Mapping[str, object], name: str) -> float:
    """A label's number of seconds; 0 without the label.

    Raises:
        SendFailedError: it is none.
    """
    if name not in labels:
        return 0.0
    try:
        number = float(cast("str", labels[name]))
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise SendFailedError(problem=f"the label {name} must be a number of seconds, not {labels[name]!r}")
    return number
