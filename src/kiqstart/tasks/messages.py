"""Messages that were received: changed, to be sent again, or read in part."""

import re
from collections.abc import Mapping
from typing import Final, cast

import pydantic_core
from taskiq import TaskiqMessage
from taskiq.labels import prepare_label

from kiqstart.tasks.labels import SEND_LABEL

_BYTES_OF_A_BEGINNING: Final = 16 * 1024
_SEND: Final = re.compile("[0-9a-z]{1,32}")
_SEND_IN_JSON: Final = re.compile(rb'"%s": ?"([0-9a-z]{1,32})"' % SEND_LABEL.encode())


def beginning_of(data: bytes) -> TaskiqMessage | None:
    """Id and task's name of a message that cannot be read, if they stand in front, and which send it is; None else."""
    send = send_in(data)
    labels = {SEND_LABEL: send} if send else {}
    try:
        found: object = pydantic_core.from_json(data[:_BYTES_OF_A_BEGINNING], allow_partial=True)
        fields = cast("dict[str, object]", found) if isinstance(found, dict) else {}
        return TaskiqMessage.model_validate({**fields, "labels": labels, "labels_types": {}, "args": [], "kwargs": {}})
    except ValueError:
        return None


def send_of(message: TaskiqMessage) -> str:
    """Which send of its id a message is; '' where no other one has had its id."""
    send: object = message.labels.get(SEND_LABEL)
    return send if send is not None and isinstance(send, str) and _SEND.fullmatch(send) else ""


def send_in(data: bytes) -> str:
    """The same of a message that need not be read for it; '' also where it is no JSON."""
    found = _SEND_IN_JSON.search(data)
    return found[1].decode() if found is not None else ""


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
