"""The log of a supervisor and its server."""

from pathlib import Path


def log_path(folder: Path) -> Path:
    """Where the log in a server's folder is; each start writes it anew."""
    return folder / "supervisor.log"


def read_last_line(folder: Path) -> str:
    """The last line of the log that has anything in it."""
    try:
        lines = log_path(folder).read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return "no log"
    return next((line.strip() for line in reversed(lines) if line.strip()), "the log is empty")
