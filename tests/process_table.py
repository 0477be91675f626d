"""What the system knows of processes."""

import subprocess


def parent_of(process: int) -> int:
    """The id of its parent."""
    return int(_ps("ppid=", process))


async def is_gone(process: int) -> bool:
    """Whether it has ended; in a container nobody may take notice of an orphan's end."""
    return _ps("state=", process)[:1] in {"", "Z"}


def _ps(column: str, process: int) -> str:
    command = ["ps", "-o", column, "-p", str(process)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
