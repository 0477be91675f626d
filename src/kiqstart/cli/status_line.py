"""A line on standard error that is renewed while a command waits."""

import sys
import time
from typing import Final

from kiqstart.cli.terminal import echo

_WIDTH: Final = 79
# Who reads a log is to see that it goes on.
_SECONDS_TO_REPEAT: Final = 60.0
# And is not to read each step of a task that is a thousand steps long.
_SECONDS_BETWEEN_LINES: Final = 5.0


class StatusLine:
    """One line of a terminal; elsewhere one each five seconds while it changes, and once a minute while it does not."""

    def __init__(self) -> None:
        self._said = ""
        self._said_at = float("-inf")
        self._unsaid = ""
        self._is_terminal = sys.stderr.isatty()

    def write(self, text: str) -> None:
        """Say it in the place of what was said before."""
        if self._is_terminal:
            self._renew(text)
        elif text:
            self._add(text)

    def clear(self) -> None:
        """Leave a terminal without the line; elsewhere, say what was said last."""
        if self._is_terminal:
            self._wipe()
        elif self._unsaid:
            self._print(self._unsaid)

    def _renew(self, text: str) -> None:
        if text == self._said:
            return
        self._wipe()
        sys.stderr.write(text[:_WIDTH])
        sys.stderr.flush()
        self._said = text

    def _wipe(self) -> None:
        if self._said:
            sys.stderr.write("\r" + " " * min(len(self._said), _WIDTH) + "\r")
            sys.stderr.flush()
            self._said = ""

    def _add(self, text: str) -> None:
        is_new = text != self._said
        if time.monotonic() - self._said_at >= (_SECONDS_BETWEEN_LINES if is_new else _SECONDS_TO_REPEAT):
            self._print(text)
        else:
            self._unsaid = text if is_new else ""

    def _print(self, text: str) -> None:
        echo(text, err=True)
        self._said, self._said_at, self._unsaid = text, time.monotonic(), ""
