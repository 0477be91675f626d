"""The log of a supervisor and its server."""

import os
from pathlib import Path
from typing import BinaryIO

from kiqstart.trust import open_own


def log_path(folder: Path) -> Path:
    """Where the log in a server's folder is; each start writes it anew."""
    return folder / "supervisor.log"


def open_log(folder: Path) -> BinaryIO:
    """The log in a server's folder, emptied."""
    return os.fdopen(open_own(log_path(folder), os.O_WRONLY | os.O_CREAT, empty=True), "wb")


def read_last_line(folder: Path) -> str:
    """The last line of the log that has anything in it."""
    try:
        lines = log_path(folder).read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return "no log"
    return next((line.strip() for line in reversed(lines) if line.strip()), "the log is empty")
