"""Names and errors that anybody may have written, as a log shows them."""

from typing import Final

from kiqstart.observability.terminal_escape import escape

_LONGEST: Final = 300


def one_line(text: object) -> str:
    """In one line of at most 300 characters, control characters escaped; whatever the object's `__str__` does."""
    try:
        shown = str(text)
    except Exception:  # noqa: BLE001  # an exception of a stranger, whose text is only wanted for a log
        shown = f"<{type(text).__name__} without a text>"
    shown = shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"
    return escape(shown)


def error_line(error: BaseException) -> str:
    """An error's type and text: `ZeroDivisionError: no good`."""
    return f"{type(error).__name__}: {one_line(error)}"
