"""Names of OpenTelemetry's conventions for messaging (1.37), and of our own."""

from typing import Final

from opentelemetry.util.types import AttributeValue

from kiqstart.observability.redaction import redact_beginning

MESSAGE_ID: Final = "messaging.message.id"
MESSAGE_COUNT: Final = "messaging.batch.message_count"
OUTCOME: Final = "kiqstart.outcome"
_LONGEST: Final = 256


def attributes_of(operation: str, task_name: str, queue: str) -> dict[str, AttributeValue]:
    """What the spans of a send and of a run have in common."""
    return {
        "messaging.system": "kiqstart",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": bounded(queue),
        "kiqstart.task": bounded(task_name),
    }


def bounded(text: str) -> str:
    """An id or a name, which somebody else may have written."""
    return redact_beginning(text, _LONGEST)
