"""What is shown of a message: its names and its arguments, as far as they are there and can be read here."""

import json
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, cast

from kiqstart.broker.argument_values import NO_VALUES, ArgumentValues
from kiqstart.broker.partial_json import beginning_of_object, is_whole, mapping_of, text_in, whole_object
from kiqstart.tasks.label_values import RETRIES_LABEL
from kiqstart.tasks.labels import SCHEDULE_ID_LABEL, SENT_BY_LABEL
from kiqstart.tasks.sealing.secrets import ENCRYPTED, NO_SECRETS, Secrets

CUT: Final = "…"
"""What stands after a text that was cut."""
# As JSON has most ids; one with an escape is not found so.
_NAMES: Final = re.compile(rb'\{"task_id": ?"([^"\\\0-\x1f]*)", ?"task_name": ?"([^"\\\0-\x1f]*)"[,}]')
_TASK_ID: Final = re.compile(rb'"task_id"\s*:\s*"([^"\\]*)"')


@dataclass(frozen=True, kw_only=True)
class MessageView:
    """A message, as it is shown.

    Args:
        task_id: None where it cannot be read.
        task: the task's name; None where it cannot be read.
        arguments: as the call was written.
        schedule: the schedule that has sent it; None where none has.
        sent_by: the id of the task that has sent it; None where none has.
        retries: how often it was tried again so far, as it says.
        values: of the arguments.
    """

    task_id: str | None
    task: str | None
    arguments: str
    schedule: str | None
    sent_by: str | None
    retries: object
    values: ArgumentValues


def view_of(data: bytes, secrets: Secrets = NO_SECRETS) -> MessageView:
    """A message, or the beginning of one; what is encrypted as it can be read here."""
    if is_whole(data):
        data = secrets.shown_message(data)
    found = whole_object(data)
    message = beginning_of_object(data) if found is None else found
    task_id, task = _names(data, found)
    labels = mapping_of(message.get("labels"))
    return MessageView(
        task_id=task_id,
        task=task,
        arguments=_arguments(message, is_cut=bool(data) and not is_whole(data)),
        schedule=text_in(labels, SCHEDULE_ID_LABEL),
        sent_by=text_in(labels, SENT_BY_LABEL),
        retries=labels.get(RETRIES_LABEL),
        values=NO_VALUES if found is None else _values(found),
    )


def names_in(block: bytes, start: int, end: int) -> tuple[str | None, str | None]:
    """The task's id and name of a message within a block, as its view has them, if it is JSON."""
    found = _NAMES.match(block, start, end)
    # Neither name is there a second time, nor written with an escape.
    if found and block.count(b'"task_', start, end) == 2 and block.find(b"\\u00", start, end) < 0:  # noqa: PLR2004
        try:
            return found[1].decode(), found[2].decode()
        except UnicodeDecodeError:
            return None, None
    data = block[start:end]
    if is_whole(data):
        data = NO_SECRETS.shown_message(data)
    return _names(data, whole_object(data))


def may_name(text: bytes, task_ids: AbstractSet[bytes | None]) -> bool:
    """Whether a text may hold a message of one of these tasks, whose ids are given as `plain_in_json` has them."""
    # A message may have such words within its arguments, too.
    return None in task_ids or not task_ids.isdisjoint(_TASK_ID.findall(text))


def as_text(value: object) -> str:
    """A value as it is shown."""
    return json.dumps(value, ensure_ascii=False)


def _names(data: bytes, found: Mapping[str, object] | None) -> tuple[str | None, str | None]:
    # The last text of a message that was cut is not whole, and may be a name.
    names = beginning_of_object(data, partial=True) if found is None else found
    return text_in(names, "task_id"), text_in(names, "task_name")


def _values(message: Mapping[str, object]) -> ArgumentValues:
    return ArgumentValues(args=_args(message), kwargs=mapping_of(message.get("kwargs")))


def _are_hidden(message: Mapping[str, object]) -> bool:
    return ENCRYPTED in message or message.get("arguments") == ENCRYPTED


def _args(message: Mapping[str, object]) -> list[object]:
    args = message.get("args")
    return cast("list[object]", args) if isinstance(args, list) else []


def _arguments(message: Mapping[str, object], *, is_cut: bool) -> str:
    if _are_hidden(message):
        return ENCRYPTED
    written = [as_text(value) for value in _args(message)]
    written += [f"{name}={as_text(value)}" for name, value in mapping_of(message.get("kwargs")).items()]
    return ", ".join([*written, *([CUT] if is_cut else [])])
