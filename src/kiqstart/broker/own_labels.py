"""Labels in which workers keep what they know of a message, changed without touching anything else in it."""

from typing import Final

from taskiq import TaskiqMessage
from taskiq.abc.formatter import TaskiqFormatter
from taskiq.labels import LabelType

from kiqstart.tasks.label_values import count_of

# With how many processes of a worker's pool it went down.
POOL_CRASHES_LABEL: Final = "pool_crashes"


def hide_own_labels(message: TaskiqMessage) -> None:
    """Take them from a message that is to be run: they are not for its task, and a next try begins without them."""
    if message.labels:
        message.labels.pop(POOL_CRASHES_LABEL, None)


class OwnLabels:
    """Reads and changes such labels in a message as it came.

    Args:
        formatter: the broker's.
    """

    def __init__(self, formatter: TaskiqFormatter) -> None:
        self._formatter = formatter

    def count(self, data: bytes, label: str) -> int:
        """A label's number; 0 without it."""
        return count_of(self._formatter.loads(data), label)

    def with_count(self, data: bytes, label: str, count: int) -> bytes:
        """The message with that number."""
        message = self._formatter.loads(data)
        message.labels[label] = str(count)
        message.labels_types = {**(message.labels_types or {}), label: LabelType.INT.value}
        return self._formatter.dumps(message).message

    def without(self, data: bytes) -> bytes:
        """The message without any of them."""
        message = self._formatter.loads(data)
        if POOL_CRASHES_LABEL not in message.labels:
            return data
        hide_own_labels(message)
        message.labels_types = {
            label: kind for label, kind in (message.labels_types or {}).items() if label in message.labels
        }
        return self._formatter.dumps(message).message
