"""Which folders may be believed: those that no other user can change, or put another one in the place of.

What a server's folder holds names files to write, folders to remove and processes to end, and what a project's
pyproject.toml names is imported. So nothing is read, made or followed there unless every folder on the way belongs to
this account or to root, and nobody else can write to it.
"""

import errno
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kiqstart.errors import OperatorError

_OTHERS = stat.S_IWOTH
_GROUP = stat.S_IWGRP


class UntrustedPathError(OperatorError):
    """Another user can change what is at a path."""


_ADVICE: Final = "work in a folder of your own, or set KIQSTART_APP, DATABASE_URL and REDIS_URL"


def check_trusted(path: Path, *, advice: str = _ADVICE) -> None:
    """Return if no other user can change what is at `path`, or what leads there; what is missing yet is trusted.

    Args:
        path: a file or a folder.
        advice: what the error says one may do.

    Raises:
        UntrustedPathError: one can, or the path cannot be looked at.
    """
    for step in _steps(path):
        try:
            info = step.lstat()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UntrustedPathError(f"{step}: {error.strerror}") from None
        if problem := _problem(info):
            raise UntrustedPathError(f"{step} {problem}, so nothing is believed that is there: {advice}")


def check_importable(folder: Path) -> None:
    """Return if no other user can put a module into a folder, or has put one there, or can put another in its place.

    Raises:
        UntrustedPathError: one can, or has.
    """
    check_trusted(folder)
    real = folder.resolve()
    # In a sticky folder anybody may make a file, and a new module is enough.
    if problem := _problem(real.stat(), is_sticky_enough=False):
        raise UntrustedPathError(f"{real} {problem}, so nothing is imported from there: {_ADVICE}")
    us = os.geteuid()
    with os.scandir(real) as entries:
        for entry in entries:
            owner = entry.stat(follow_symlinks=False).st_uid
            if owner not in (0, us):
                problem = f"{entry.path} belongs to {_name(owner)}"
                raise UntrustedPathError(f"{problem}, so nothing is imported from there: {_ADVICE}")


def make_trusted_folder(path: Path) -> None:
    """Make the folder, and those above it, unless it is there.

    Raises:
        UntrustedPathError: another user can change it.
        OSError: it cannot be made.
    """
    check_trusted(path)
    # Whatever the umask is, others may only look.
    for missing in [step for step in (path, *path.parents) if not step.exists()][::-1]:
        missing.mkdir(mode=0o755, exist_ok=True)
    # Somebody may have been quicker, where anybody may make folders.
    check_trusted(path)


def open_own(path: Path, flags: int, *, empty: bool = False) -> int:
    """Open a file of this account's own, no link; return its descriptor, which child processes do not inherit.

    Args:
        path: the file.
        flags: those of `os.open`.
        empty: whether its content goes.

    Raises:
        UntrustedPathError: it is a link, or another's.
        OSError: it cannot be opened.
    """
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENXIO):
            raise UntrustedPathError(f"{path}: is no file of this account's own: remove it") from None
        raise
    info = os.fstat(descriptor)
    # It has no name any more where a newer one has taken its place meanwhile.
    if info.st_uid != os.geteuid() or info.st_nlink > 1 or not stat.S_ISREG(info.st_mode):
        os.close(descriptor)
        raise UntrustedPathError(f"{path}: is no file of this account's own: remove it")
    if empty:
        os.ftruncate(descriptor, 0)
    return descriptor


def _steps(path: Path) -> Iterator[Path]:
    """Each folder and link on the way as it is written, then those that the links lead to."""
    written, real = path.absolute(), path.resolve()
    yield from dict.fromkeys([*reversed(written.parents), written, *reversed(real.parents), real])


def _problem(info: os.stat_result, *, is_sticky_enough: bool = True) -> str:
    us = os.geteuid()
    if info.st_uid not in (0, us):
        return f"belongs to {_name(info.st_uid)}"
    # A link has no mode of its own. In a sticky folder others can make files, but change none of ours.
    if stat.S_ISLNK(info.st_mode) or (is_sticky_enough and info.st_mode & stat.S_ISVTX):
        return ""
    if info.st_mode & _OTHERS or (info.st_mode & _GROUP and not _is_private(info.st_gid, us)):
        return "can be written by other users"
    return ""


def _is_private(gid: int, uid: int) -> bool:
    """Whether a group is that of the account alone, as many systems make one for each account."""
    if gid == 0:
        return True
    try:
        user, group = pwd.getpwuid(uid), grp.getgrgid(gid)
    except KeyError:
        return False
    return user.pw_gid == gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
