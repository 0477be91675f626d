"""Where messages go: to a queue, now or later, or to the dead letters."""

import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from logging import getLogger
from typing import Final, cast

from taskiq import BrokerMessage

from kiqstart.broker.delivery import Again, Dead, DeadLetterReason, Delivery
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.letter_text import kept_detail
from kiqstart.broker.loop_resources import LoopResources
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.script import Script
from kiqstart.broker.sender import SendFailedError, Sending
from kiqstart.tasks.formatting import Outgoing
from kiqstart.tasks.kicker import held_by, made_id
from kiqstart.tasks.labels import (
    DEFAULT_QUEUE,
    DELAY_LABEL,
    DUE_LABEL,
    LONGEST_NAME,
    MAX_DELAY_SECONDS,
    QUEUE_LABEL,
    SEND_LABEL,
    UNIQUE_LABEL,
    bounded_delay,
)
from kiqstart.tasks.queue_names import queue_name_problem
from kiqstart.tasks.sealing.secrets import NO_SECRETS, Secrets
from kiqstart.tasks.sizes import MOST_GROWTH, kept_of, size_problem
from kiqstart.tasks.task_ids import InvalidTaskIdError, check_task_id

logger = getLogger(__name__)

_BURY: Final = Script[None]("bury")
_SHOWN: Final = 50
# The labels that say how a message is sent; most have others only, for the worker.
_SAYING_HOW: Final = frozenset({DELAY_LABEL, DUE_LABEL, QUEUE_LABEL, UNIQUE_LABEL})


class Dispatcher:
    """Sends messages where their labels say; those of a task that runs here, in the step that ends its delivery.

    Args:
        connection: gives what the event loop has of Redis.
        delivery_of: finds the unsettled delivery of a task that runs in this process.
        secrets: encrypts what letters say.
    """

    def __init__(
        self,
        connection: Callable[[], LoopResources],
        keys: QueueKeys,
        options: StreamOptions,
        *,
        delivery_of: Callable[[str], Delivery | None],
        secrets: Secrets = NO_SECRETS,
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._options = options
        self._delivery_of = delivery_of
        self._secrets = secrets

    async def send(self, message: BrokerMessage) -> None:
        """Send a message as its labels say; `held_by` tells the kicker where another task has its unique key.

        Raises:
            SendFailedError: it was not sent.
        """
        delivery = self._delivery_of(message.task_id)
        if delivery is not None:
            delay = bounded_delay(label_seconds(message.labels, DELAY_LABEL))
            send = str(message.labels.get(SEND_LABEL, ""))
            delivery.outcome = Again(message=message.message, delay=delay, send=send)
            return
        is_anew = message.task_id != made_id.get()
        sent = await self._connection().sender.send(self._sending(message, is_anew=is_anew))
        if sent != message.task_id:
            logger.info("Task %s with id %s was not sent: %s holds its key", message.task_name, message.task_id, sent)
            held_by.set(sent)

    def send_many(self, messages: Sequence[Outgoing]) -> Awaitable[Sequence[str | BaseException]]:
        """Send messages of tasks that do not run here, in one step.

        Gives for each its task's id, or that of the task that has its unique key, or what `send` would raise.
        """
        sendings: list[Sending | SendFailedError] = [self._try_sending(one) for one in messages]
        good = [one for one in sendings if isinstance(one, Sending)]
        sent = self._connection().sender.send_all(good)
        return sent if len(good) == len(sendings) else _with_failures(sendings, sent)

    async def retry(self, message: BrokerMessage, delay: float, *, is_first: bool) -> None:
        """Send a message again after `delay` seconds."""
        delivery = self._delivery_of(message.task_id)
        if delivery is not None:
            delivery.outcome = Again(message=message.message, delay=bounded_delay(delay), is_first=is_first)
            return
        await self._connection().sender.send(
            Sending(
                stream=self._stream(message),
                task_id=message.task_id,
                message=message.message,
                delay=bounded_delay(delay),
            )
        )

    async def bury(self, message: BrokerMessage, reason: DeadLetterReason, detail: str) -> None:
        """Make a message a dead letter."""
        delivery = self._delivery_of(message.task_id)
        if delivery is not None:
            delivery.outcome = Dead(reason=reason, detail=detail, message=message.message)
            return
        shown, kept = self._secrets.hide_detail(kept_detail(detail)), kept_of(message.message)
        arguments = (self._options.dead_letter_limit, self._stream(message), reason.value, shown, kept)
        await _BURY(self._connection().redis, self._keys.shared, arguments)

    def _try_sending(self, message: Outgoing) -> Sending | SendFailedError:
        try:
            return self._sending(message)
        except SendFailedError as error:
            return error

    def _sending(self, message: Outgoing, *, is_anew: bool = False) -> Sending:
        if len(message.message) * MOST_GROWTH >= self._options.message_bytes:
            check_size(message, self._options.message_bytes)
        labels = message.labels
        is_short = message.task_id.isascii() and 0 < len(message.task_id) <= LONGEST_NAME
        if is_short and not is_anew and (not labels or _SAYING_HOW.isdisjoint(labels)):
            return Sending(
                stream=self._keys.name, task_id=message.task_id, message=message.message, task=message.task_name
            )
        check_names(message)
        return Sending(
            stream=self._stream(message),
            task_id=message.task_id,
            message=message.message,
            task=message.task_name,
            queue=str(labels.get(QUEUE_LABEL, DEFAULT_QUEUE)),
            delay=max(label_seconds(labels, DELAY_LABEL), 0.0),
            due=label_seconds(labels, DUE_LABEL, since=time.time()) or None,
            unique=str(labels.get(UNIQUE_LABEL, "")),
            send=str(labels.get(SEND_LABEL, "")) if is_anew else "",
            is_anew=is_anew,
        )

    def _stream(self, message: Outgoing) -> str:
        queue = str(message.labels.get(QUEUE_LABEL, DEFAULT_QUEUE))
        # One that was received may have any label.
        return self._keys.stream(queue if queue_name_problem(queue) is None else DEFAULT_QUEUE)


async def _with_failures(
    sendings: Sequence[Sending | SendFailedError], sent: Awaitable[Sequence[str | BaseException]]
) -> Sequence[str | BaseException]:
    answers = iter(await sent)
    return [one if isinstance(one, SendFailedError) else next(answers) for one in sendings]


def check_names(message: Outgoing) -> None:
    """Refuse what would become a key that nobody reads, or that Redis refuses together with all of the same step.

    Raises:
        SendFailedError: its queue, unique key or id is none.
    """
    queue, unique = str(message.labels.get(QUEUE_LABEL, DEFAULT_QUEUE)), str(message.labels.get(UNIQUE_LABEL, ""))
    try:
        check_task_id(message.task_id)
    except InvalidTaskIdError as error:
        raise SendFailedError(problem=str(error)) from None
    who = f"task {message.task_id[:_SHOWN]!r}"
    problem = queue_name_problem(queue)
    if problem is not None:
        raise SendFailedError(problem=f"{who} has the label {QUEUE_LABEL}={queue[:_SHOWN]!r}: {problem}")
    try:
        size = len(unique.encode())
    except UnicodeEncodeError as error:
        raise SendFailedError(problem=f"{who}: its unique key is not UTF-8: {error.reason}") from None
    if size > LONGEST_NAME:
        raise SendFailedError(problem=f"{who}: its unique key has {size} bytes, {LONGEST_NAME} at most")


def check_size(message: Outgoing, limit: int) -> None:
    """Refuse what no worker would decode.

    Args:
        message: is sent.
        limit: bytes that it may have.

    Raises:
        SendFailedError: it is too large.
    """
    problem = size_problem(message.message, limit)
    if problem is not None:
        raise SendFailedError(
            problem=f"task {message.task_id[:_SHOWN]!r} was not sent: its message has {problem} (TASKS_MESSAGE_BYTES, "
            "message_bytes); keep what is large elsewhere, and send where"
        )


def label_seconds(labels: Mapping[str, object], name: str, *, since: float = 0.0) -> float:
    """A label's number of seconds; 0 without the label.

    Args:
        labels: of a message.
        name: the label's.
        since: from where ten years are counted, which is as far as a task may lie ahead.

    Raises:
        SendFailedError: it is none, or lies too far ahead.
    """
    if name not in labels:
        return 0.0
    try:
        number = float(cast("str", labels[name]))
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise SendFailedError(problem=f"the label {name} must be a number of seconds, not {labels[name]!r:.100}")
    if number > since + MAX_DELAY_SECONDS:
        raise SendFailedError(problem=f"the label {name}={labels[name]!r:.100} is more than ten years ahead")
    return max(number, -MAX_DELAY_SECONDS)
