"""A line on standard error that is renewed while a command waits."""

import sys
import time
from typing import Final

from kiqstart.cli.terminal import echo

_WIDTH: Final = 79
# Who reads a log is to see that it goes on.
_SECONDS_TO_REPEAT: Final = 60.0


class StatusLine:
    """One line of a terminal; elsewhere a line for each thing that is said, once a minute if it stays the same."""

    def __init__(self) -> None:
        self._said = ""
        self._said_at = 0.0
        self._is_terminal = sys.stderr.isatty()

    def write(self, text: str) -> None:
        """Say it in the place of what was said before."""
        now = time.monotonic()
        if text == self._said and (self._is_terminal or now - self._said_at < _SECONDS_TO_REPEAT):
            return
        if self._is_terminal:
            self.clear()
            sys.stderr.write(text[:_WIDTH])
            sys.stderr.flush()
        else:
            echo(text, err=True)
        self._said, self._said_at = text, now

    def clear(self) -> None:
        """Leave a terminal without the line."""
        if self._is_terminal and self._said:
            sys.stderr.write("\r" + " " * min(len(self._said), _WIDTH) + "\r")
            sys.stderr.flush()
            self._said = ""
