"""The context that a message carries, in its labels."""

from collections.abc import Mapping, Sequence
from logging import getLogger
from typing import Final

from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from taskiq import TaskiqMessage
from taskiq.labels import LabelType

logger = getLogger(__name__)

# The try that has failed before this one, as a traceparent.
PREVIOUS_TRY_LABEL: Final = "previous_try"
# What W3C allows for baggage; the others are shorter.
_LONGEST: Final = 8192
_W3C: Final = TraceContextTextMapPropagator()


def carry(message: TaskiqMessage, context: Context | None = None) -> TaskiqMessage:
    """Let a message carry a context, and none of what it has carried so far.

    Args:
        message: is to be sent.
        context: None is the current one.
    """
    carrier: dict[str, str] = {}
    propagate.inject(carrier, context)
    forget(message, *propagate.get_global_textmap().fields, PREVIOUS_TRY_LABEL)
    for name, value in carrier.items():
        _set(message, name, value)
    return message


def forget(message: TaskiqMessage, *names: str) -> None:
    """Take labels away."""
    for name in names:
        message.labels.pop(name, None)
        (message.labels_types or {}).pop(name, None)


def carried(labels: Mapping[str, object]) -> Context:
    """The context that a message's labels carry; an empty one if they carry none that can be read."""
    carrier = {name: value for name in propagate.get_global_textmap().fields if (value := _text(labels, name))}
    if not carrier:
        return Context()
    try:
        return propagate.extract(carrier, Context())
    except Exception as error:  # noqa: BLE001  # a propagator's; no task fails of what a stranger writes
        logger.debug("The context of a message cannot be read: %s", type(error).__name__)
        return Context()


def name_try(message: TaskiqMessage, this: SpanContext) -> None:
    """Let a message, if it is sent again, say which try it comes after."""
    if this.is_valid:
        text = f"00-{this.trace_id:032x}-{this.span_id:016x}-{int(this.trace_flags) & 1:02x}"
        _set(message, PREVIOUS_TRY_LABEL, text)


def links_of(labels: Mapping[str, object]) -> Sequence[Link]:
    """A link to the try before this one, if there was one."""
    text = _text(labels, PREVIOUS_TRY_LABEL)
    if not text:
        return ()
    found = get_current_span(_W3C.extract({"traceparent": text}, Context())).get_span_context()
    return (Link(found, {"kiqstart.link": "previous try"}),) if found.is_valid else ()


def _text(labels: Mapping[str, object], name: str) -> str:
    value = labels.get(name)
    return value if isinstance(value, str) and len(value) <= _LONGEST else ""


def _set(message: TaskiqMessage, name: str, value: str) -> None:
    message.labels[name] = value
    message.labels_types = {**(message.labels_types or {}), name: LabelType.STR.value}
