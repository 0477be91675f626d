"""A folder under /var/tmp that stands in for one that an unprivileged account cannot get to."""

import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

_ROOT = Path("/var/tmp")  # noqa: S108  # mkdtemp picks a name that nobody else has
_PREFIX = "kiqstart-data-"
_MAKING_SECONDS = 60.0


def stand_in(folder: Path) -> Path:
    """The stand-in for `folder`, made on first use, readable for all.

    A link `elsewhere` in `folder` points to it, and its own link `home` points back. A copied or moved `folder` gets
    one of its own.
    """
    link = folder / "elsewhere"
    if link.is_symlink() and _is_ours(link.readlink()) and _home(link.readlink()) == folder:
        return link.readlink()
    link.unlink(missing_ok=True)
    made = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_ROOT))
    (made / "home").symlink_to(folder)
    link.symlink_to(made)
    made.chmod(0o755)
    return made


def sweep_stand_ins() -> None:
    """Remove the stand-ins of this account whose folder is gone, or has another one by now."""
    for made in _ROOT.glob(f"{_PREFIX}*"):
        home = _home(made) if _is_ours(made) else None
        if home is None or time.time() - made.lstat().st_mtime < _MAKING_SECONDS:
            continue
        link = home / "elsewhere"
        if not link.is_symlink() or link.readlink() != made:
            shutil.rmtree(made, ignore_errors=True)


def _home(made: Path) -> Path | None:
    link = made / "home"
    return link.readlink() if link.is_symlink() else None


def _is_ours(made: Path) -> bool:
    try:
        info = made.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid()
