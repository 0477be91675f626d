"""How much memory this process may still take before the system, or its container, kills something."""

import resource
from pathlib import Path
from typing import Final

_SYSTEM: Final = Path("/proc/meminfo")
_CONTAINER: Final = Path("/sys/fs/cgroup")
# What another process of the same application takes at most, beside what this one has ever taken.
_MARGIN: Final = 1.5


def has_room_for_another() -> bool:
    """Whether there is memory for one more process like this one; True where nobody says."""
    needed = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 * _MARGIN
    return all(free is None or free > needed for free in (_free_in_system(), _free_in_container()))


def _free_in_system() -> int | None:
    kibibytes = _field(_SYSTEM, "MemAvailable:")
    return None if kibibytes is None else kibibytes * 1024


def _free_in_container() -> int | None:
    limit, used = _number(_CONTAINER / "memory.max"), _number(_CONTAINER / "memory.current")
    if limit is None or used is None:
        return None
    # The system drops these before it kills.
    return limit - used + (_field(_CONTAINER / "memory.stat", "inactive_file") or 0)


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such control group, or "max"
        return None


def _field(file: Path, name: str) -> int | None:
    try:
        lines = file.read_text(encoding="ascii").splitlines()
        return next((int(line.split()[1]) for line in lines if line.split()[0] == name), None)
    except (OSError, ValueError, IndexError):
        return None
