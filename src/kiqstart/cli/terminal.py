"""What commands print: without secrets, and harmless, whoever wrote the text."""

import json

import typer

from kiqstart.observability.redaction import redacted
from kiqstart.operations.text import shown as shown  # noqa: PLC0414  # what commands put into a line
from kiqstart.operations.text import shown_lines as shown_lines  # noqa: PLC0414


def echo(text: str, *, err: bool = False) -> None:
    """Print a text whose lines stay lines: what comes from outside goes through `shown` before it is put into one."""
    typer.echo(shown_lines(text), err=err)  # noqa: TID251  # the one place


def echo_json(value: object) -> None:
    """Print a value as JSON, of printable ASCII only; secrets are replaced in it, so that it stays JSON."""
    typer.echo(json.dumps(redacted(value), indent=2))  # noqa: TID251  # the one place
