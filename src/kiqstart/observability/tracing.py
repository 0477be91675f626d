"""What all parts that trace have in common. OpenTelemetry is imported by nobody here who does not trace anyway."""

import sys
from traceback import format_exception, format_exception_only
from typing import TYPE_CHECKING, Final

from kiqstart.observability.redaction import redact_beginning, redact_end

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

# In a context of OpenTelemetry: what makes the spans within a run.
TRACER_KEY: Final = "kiqstart-tracer"
_LONGEST_MESSAGE: Final = 500
_LONGEST_STACKTRACE: Final = 8000


def current_tracer() -> "Tracer | None":
    """What makes spans within the current one; None if nobody traces what happens here."""
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry import context, trace

    if not trace.get_current_span().is_recording():
        return None
    known = context.get_value(TRACER_KEY)
    return known if isinstance(known, trace.Tracer) else trace.get_tracer("kiqstart")


def record_error(span: "Span", error: BaseException) -> None:
    """Note in a span that it has failed, and how: without secrets, and no more than is read."""
    if not span.is_recording():
        return
    from opentelemetry.trace import StatusCode

    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    line = "".join(format_exception_only(error)).strip()
    message = redact_beginning(line.partition(": ")[2] or line, _LONGEST_MESSAGE)
    stacktrace = redact_end("".join(format_exception(error)), _LONGEST_STACKTRACE)
    span.add_event(
        "exception", {"exception.type": kind, "exception.message": message, "exception.stacktrace": stacktrace}
    )
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR, f"{kind}: {message}")
