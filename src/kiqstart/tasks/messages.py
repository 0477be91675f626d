"""Messages that were received: changed, to be sent again, or read in part."""

from collections.abc import Mapping
from typing import Final, cast

import pydantic_core
from taskiq import TaskiqMessage
from taskiq.labels import prepare_label

_BYTES_OF_A_BEGINNING: Final = 16 * 1024


def beginning_of(data: bytes) -> TaskiqMessage | None:
    """Id and task's name of a message that is too large to be read, if they stand in front; None else."""
    try:
        found: object = pydantic_core.from_json(data[:_BYTES_OF_A_BEGINNING], allow_partial=True)
        fields = cast("dict[str, object]", found) if isinstance(found, dict) else {}
        return TaskiqMessage.model_validate({**fields, "labels": {}, "labels_types": {}, "args": [], "kwargs": {}})
    except ValueError:
        return None


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
