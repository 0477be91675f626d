"""An occurrence of a schedule as a message: its time is part of its id."""

from datetime import UTC, datetime, timedelta
from logging import getLogger
from typing import Final

from taskiq import AsyncBroker, BrokerMessage, TaskiqMessage
from taskiq.labels import prepare_label

from kiqstart.infrastructure.taskiq.hooks import after_send, before_send, hooks_of
from kiqstart.infrastructure.taskiq.labels import DELAY_LABEL
from kiqstart.infrastructure.taskiq.scheduling.definition import Definition
from kiqstart.infrastructure.taskiq.streams.dispatching import label_seconds

logger = getLogger(__name__)

SCHEDULED_AT_LABEL: Final = "scheduled_at"
SCHEDULE_ID_LABEL: Final = "schedule_id"
LATE_LABEL: Final = "scheduled_late"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
# What is sent later than that says so.
LATE: Final = timedelta(seconds=1)


def to_ms(time: datetime) -> int:
    """Milliseconds since the Unix epoch, rounded down."""
    return (time - _EPOCH) // _MILLISECOND


def from_ms(milliseconds: int) -> datetime:
    """A time, in UTC."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def time_text(time: datetime) -> str:
    """A time as ids and labels have it: 2026-10-25T01:30:00Z."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


async def occurrence_message(
    broker: AsyncBroker, definition: Definition, time: datetime, lateness: timedelta
) -> BrokerMessage:
    """The message of one occurrence, after the middlewares' `pre_send`; it is not sent yet.

    Raises:
        SendFailedError: its label `delay` is no number.
    """
    text = time_text(time)
    occurrence = f"{definition.name}@{text}"
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
    message = await before_send(broker, message)
    # One that is none would be refused together with all others that are sent in the same step.
    label_seconds(message.labels, DELAY_LABEL)
    return broker.formatter.dumps(message)


async def after_occurrence(broker: AsyncBroker, sent: BrokerMessage) -> None:
    """Let the middlewares' `post_send` know; what they raise is logged, for the message is sent."""
    try:
        if hooks_of(broker).post_send:
            await after_send(broker, broker.formatter.loads(sent.message))
    except Exception:
        logger.exception("A middleware failed after %s was sent", sent.task_id)
