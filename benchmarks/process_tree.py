"""What the processes of a session take of the machine, from Linux' /proc."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")


def cpu_seconds(session: int) -> float:
    """User and system time so far of all processes of a session; of those that ended, where their parent is in it."""
    # The fields from the third one on, by the numbers of proc(5): 14 to 17 are times, in ticks.
    return sum(sum(map(int, fields[11:15])) for _, fields in _processes(session)) / _TICKS


def resident_bytes(session: int) -> int:
    """Resident memory of all processes of a session; what they share counts for each."""
    return sum(_kilobytes(folder / "status", "VmRSS:") for folder, _ in _processes(session)) * 1024


def proportional_bytes(session: int) -> int:
    """Resident memory of all processes of a session; what processes share is divided by their number."""
    return sum(_kilobytes(folder / "smaps_rollup", "Pss:") for folder, _ in _processes(session)) * 1024


def _processes(session: int) -> Iterator[tuple[Path, list[str]]]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The name, in parentheses, may have spaces.
            fields = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session:
            yield folder, fields


def _kilobytes(file: Path, name: str) -> int:
    try:
        lines = file.read_text(encoding="ascii").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(name))
