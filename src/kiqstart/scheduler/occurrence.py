"""An occurrence of a schedule as a message: its time is part of its id."""

import asyncio
import math
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from logging import getLogger
from typing import Final

from taskiq import AsyncBroker, BrokerMessage, TaskiqMessage
from taskiq.labels import prepare_label

from kiqstart.broker.dispatcher import check_names, check_size, label_seconds
from kiqstart.broker.sender import SendFailedError
from kiqstart.scheduler.broker_limits import message_bytes
from kiqstart.scheduler.definition import ScheduleDefinition
from kiqstart.scheduler.log_text import error_line, one_line
from kiqstart.tasks.hooks import after_send, before_send, hooks_of
from kiqstart.tasks.labels import DEFAULT_QUEUE, DELAY_LABEL, QUEUE_LABEL, SCHEDULE_ID_LABEL
from kiqstart.tasks.tracing import ScheduledSpan

logger = getLogger(__name__)

SCHEDULED_AT_LABEL: Final = "scheduled_at"
LATE_LABEL: Final = "scheduled_late"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_FIRST_MS: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND
_LAST_MS: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND
_TWO_DAYS_MS: Final = 2 * 86_400_000
# What is sent later than that says so.
LATE: Final = timedelta(seconds=1)


def ms_of_score(score: float | str | bytes) -> int:
    """A time as Redis' sorted sets have it; the first or the last of all for what is none."""
    number = float(score)
    if math.isnan(number):
        return _FIRST_MS
    return round(min(max(number, _FIRST_MS), _LAST_MS))


def to_ms(time: datetime) -> int:
    """Milliseconds since the Unix epoch, rounded down."""
    return (time - _EPOCH) // _MILLISECOND


def from_ms(milliseconds: int) -> datetime:
    """A time, in UTC."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def shown_time(milliseconds: int) -> datetime:
    """A time that can be shown in any time zone: two days within what a datetime can be."""
    return from_ms(min(max(milliseconds, _FIRST_MS + _TWO_DAYS_MS), _LAST_MS - _TWO_DAYS_MS))


def time_text(time: datetime) -> str:
    """A time as ids and labels have it: 2026-10-25T01:30:00Z."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def occurrence_id(definition: ScheduleDefinition, time: datetime) -> str:
    """The id of the task of one occurrence."""
    return f"{definition.name}@{time_text(time)}"


def occurrence_span(broker: AsyncBroker, definition: ScheduleDefinition, time: datetime) -> ScheduledSpan | None:
    """The span of one occurrence's send; None if nobody traces."""
    tracing = hooks_of(broker).tracing
    if tracing is None:
        return None
    queue = str(definition.labels.get(QUEUE_LABEL, DEFAULT_QUEUE))
    return tracing.scheduled(occurrence_id(definition, time), definition.task, queue, time)


async def occurrence_message(
    broker: AsyncBroker,
    definition: ScheduleDefinition,
    time: datetime,
    lateness: timedelta,
    span: ScheduledSpan | None,
) -> BrokerMessage:
    """The message of one occurrence, after the middlewares' `pre_send`; it is not sent yet.

    Raises:
        SendFailedError: it cannot be sent, or a middleware raises what is no `Exception`.
    """
    text, occurrence = time_text(time), occurrence_id(definition, time)
    labels = {**definition.labels, SCHEDULE_ID_LABEL: occurrence, SCHEDULED_AT_LABEL: text}
    if lateness > LATE:
        labels[LATE_LABEL] = round(lateness.total_seconds(), 3)
    prepared = {name: prepare_label(value) for name, value in labels.items()}
    message = TaskiqMessage(
        task_id=occurrence,
        task_name=definition.task,
        labels={name: value for name, (value, _) in prepared.items()},
        labels_types={name: kind for name, (_, kind) in prepared.items()},
        args=list(definition.args),
        kwargs=dict(definition.kwargs),
    )
    with _contained():
        message = await before_send(broker, message if span is None else span.carry(message))
    made = broker.formatter.dumps(message)
    check_message(made, broker)
    return made


async def after_occurrence(broker: AsyncBroker, sent: BrokerMessage, *, deadline: float) -> None:
    """Let the middlewares' `post_send` know; what they raise is logged, for the message is sent.

    Args:
        broker: has the middlewares.
        sent: the message.
        deadline: seconds that they may take.
    """
    try:
        if hooks_of(broker).post_send:
            async with asyncio.timeout(deadline):
                with _contained():
                    await after_send(broker, broker.formatter.loads(sent.message))
    except TimeoutError:
        logger.error("A middleware hangs after %s was sent", one_line(sent.task_id))  # noqa: TRY400  # where it hangs nobody knows
    except Exception:
        logger.exception("A middleware failed after %s was sent", one_line(sent.task_id))


@contextmanager
def _contained() -> Generator[None]:
    """Let a middleware that ends its process, as `sys.exit` does, only fail."""
    try:
        yield
    except (Exception, asyncio.CancelledError, KeyboardInterrupt, GeneratorExit):
        # The last three come from outside, too.
        raise
    except BaseException as error:
        raise SendFailedError(problem=error_line(error)) from error


def check_message(message: BrokerMessage, broker: AsyncBroker) -> None:
    """Refuse what Redis, or its client, would refuse together with all that is sent in the same step.

    Raises:
        SendFailedError: this cannot be sent.
    """
    label_seconds(message.labels, DELAY_LABEL)
    check_names(message)
    check_size(message, message_bytes(broker))
