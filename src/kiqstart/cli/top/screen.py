"""A terminal's screen that is redrawn in place, and the key that ends it."""

import asyncio
import os
import shutil
import sys
import termios
import tty
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final

_ENTER: Final = "\x1b[?1049h\x1b[?25l"
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_TO_END_OF_LINE: Final = "\x1b[K"
_TO_END: Final = "\x1b[J"
_QUIT: Final = frozenset(b"qQ\x04")


class Screen:
    """Draws frames over each other."""

    def __init__(self) -> None:
        self.quit = asyncio.Event()

    @property
    def width(self) -> int:
        """Characters of a line."""
        return shutil.get_terminal_size().columns

    def draw(self, lines: Sequence[str]) -> None:
        """Draw lines that fit the width; what the window has no room for is counted in the last one."""
        height = max(shutil.get_terminal_size().lines, 2)
        if len(lines) > height:
            lines = [*lines[: height - 1], f"… {len(lines) - height + 1} more lines"]
        text = f"{_TO_END_OF_LINE}\r\n".join(lines)
        sys.stdout.write(f"{_HOME}{text}{_TO_END_OF_LINE}{_TO_END}")
        sys.stdout.flush()

    @contextmanager
    def opened(self) -> Generator[None]:
        """Take the terminal for the block, and give it back as it was."""
        loop, keys = asyncio.get_running_loop(), sys.stdin.fileno()
        before = termios.tcgetattr(keys) if sys.stdin.isatty() else None
        sys.stdout.write(_ENTER)
        try:
            if before is not None:
                tty.setcbreak(keys)
                loop.add_reader(keys, self._read_keys, keys)
            yield
        finally:
            if before is not None:
                loop.remove_reader(keys)
                termios.tcsetattr(keys, termios.TCSADRAIN, before)
            sys.stdout.write(_LEAVE)
            sys.stdout.flush()

    def _read_keys(self, keys: int) -> None:
        pressed = os.read(keys, 100)
        if not pressed or _QUIT & set(pressed):
            self.quit.set()
