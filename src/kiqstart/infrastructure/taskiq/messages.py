"""Changing a message that is to be sent again."""

from collections.abc import Mapping

from taskiq import TaskiqMessage
from taskiq.labels import prepare_label


def with_labels(message: TaskiqMessage, labels: Mapping[str, str | float | bool]) -> TaskiqMessage:
    """A copy of a received message with further labels, ready for the formatter."""
    prepared = {
        name: prepare_label(value) for name, value in (message.labels | dict(labels)).items() if value is not None
    }
    return message.model_copy(
        update={
            "labels": {name: text for name, (text, _) in prepared.items()},
            "labels_types": {name: label_type for name, (_, label_type) in prepared.items()},
        }
    )
