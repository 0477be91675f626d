"""The one kind of error that a command shows as a line instead of a traceback."""

import sys
from typing import Final

# Of a longer line, which quotes what somebody else has written, both ends are printed.
_LONGEST: Final = 4000


class OperatorError(Exception):
    """A mistake that whoever runs or configures the program can mend.

    Its text is one line: what is wrong, where, and what to do. Commands, workers and schedulers print that line and end
    with a non-zero exit code; a program that embeds the tasks catches the class like any other exception.
    """


def print_error(error: OperatorError | str) -> None:
    """Print an error on standard error: without secrets, and in one line of bounded length, whatever it quotes."""
    # What starts a worker stays small, and most of the time nothing is wrong.
    from kiqstart.observability.redaction import redact
    from kiqstart.observability.terminal_escape import escape

    line = escape(redact(str(error)))
    if len(line) > _LONGEST:
        line = f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 2 :]}"
    sys.stderr.write(f"kiqstart: {line}\n")
    sys.stderr.flush()
