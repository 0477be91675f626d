"""Text of anybody's, as it may be shown: without secrets, and harmless."""

from kiqstart.observability.redaction import redact
from kiqstart.observability.terminal_escape import escape, escape_lines


def shown(text: str) -> str:
    """A text of anybody's in one line, as it may be shown."""
    return escape(redact(text))


def shown_lines(text: str) -> str:
    """A text of anybody's whose lines stay lines, as it may be shown."""
    return escape_lines(redact(text))
