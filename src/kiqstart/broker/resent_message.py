"""A message that was delivered before, as it is sent again by an operator."""

from typing import Final

from taskiq import TaskiqMessage
from taskiq.abc.formatter import TaskiqFormatter

from kiqstart.broker.own_labels import POOL_CRASHES_LABEL
from kiqstart.broker.receiver.preflight import UNACKNOWLEDGED_LABEL
from kiqstart.broker.retries import RETRIES_LABEL
from kiqstart.tasks.formatting import JsonFormatter
from kiqstart.tasks.messages import with_labels

_TRIES_LABELS: Final = frozenset({RETRIES_LABEL, UNACKNOWLEDGED_LABEL, POOL_CRASHES_LABEL})


def envelope_of(formatter: TaskiqFormatter, data: bytes) -> TaskiqMessage | None:
    """A message's id, name and labels, without arguments that are encrypted; None where it cannot be read."""
    try:
        message = formatter.envelope(data) if isinstance(formatter, JsonFormatter) else formatter.loads(data)
        message.parse_labels()
    except Exception:  # noqa: BLE001  # whatever a serializer raises
        return None
    return message


def as_new(formatter: TaskiqFormatter, message: TaskiqMessage, data: bytes) -> bytes:
    """The message with its tries counted anew; as it is if it is signed and this process has no key.

    Args:
        formatter: the broker's.
        message: its envelope.
        data: the message.
    """
    spent = _TRIES_LABELS & message.labels.keys()
    if not spent:
        return data
    anew = dict.fromkeys(spent, 0)
    if isinstance(formatter, JsonFormatter):
        return formatter.changed(data, lambda one: with_labels(one, anew))
    return formatter.dumps(with_labels(message, anew)).message
