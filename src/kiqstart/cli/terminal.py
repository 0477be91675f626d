"""What commands print: without secrets, and harmless, whoever wrote the text."""

import typer

from kiqstart.observability.redaction import redact
from kiqstart.observability.terminal_escape import escape, escape_lines


def shown(text: str) -> str:
    """A text of anybody's in one line, as it may be printed."""
    return escape(redact(text))


def shown_lines(text: str) -> str:
    """A text of anybody's whose lines stay lines, as it may be printed."""
    return escape_lines(redact(text))


def echo(text: str, *, err: bool = False) -> None:
    """Print a text whose lines stay lines: what comes from outside goes through `shown` before it is put into one."""
    typer.echo(shown_lines(text), err=err)  # noqa: TID251  # the one place
