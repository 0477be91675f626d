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

    A link `elsewhere` in `folder` points to it, and its own link `home` points back.
    """
    link = folder / "elsewhere"
    if _is_ours(link):
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
        info, home = made.lstat(), made / "home"
        being_made = time.time() - info.st_mtime < _MAKING_SECONDS
        if being_made or info.st_uid != os.geteuid() or not home.is_symlink():
            continue
        link = home.readlink() / "elsewhere"
        if not link.is_symlink() or link.readlink() != made:
            shutil.rmtree(made, ignore_errors=True)


def _is_ours(link: Path) -> bool:
    if not link.is_symlink():
        return False
    try:
        info = link.readlink().lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid()
