"""The one kind of error that a command shows as a line instead of a traceback."""

import sys


class OperatorError(Exception):
    """A mistake that whoever runs or configures the program can mend.

    Its text is one line: what is wrong, where, and what to do. Commands, workers and schedulers print that line and end
    with a non-zero exit code; a program that embeds the tasks catches the class like any other exception.
    """


def print_error(error: OperatorError | str) -> None:
    """Print an error's line on standard error: without secrets, and in one line whatever it quotes."""
    # What starts a worker stays small, and most of the time nothing is wrong.
    from kiqstart.observability.redaction import redact
    from kiqstart.observability.terminal_escape import escape

    sys.stderr.write(f"kiqstart: {escape(redact(str(error)))}\n")
    sys.stderr.flush()
