"""Who a server runs as, and a folder for its socket."""

import os
import pwd
import re
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from kiqstart.local.errors import LocalStackError

_PREFIX = "kiqstart-"
# sun_path holds 104 bytes on macOS, and PostgreSQL adds "/kiqstart-xxxxxxxx/.s.PGSQL.5432.lock".
_SHORT_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./+-]{1,60}")


@dataclass(frozen=True, kw_only=True)
class Account:
    """An account of this machine."""

    uid: int
    gid: int

    def reaches(self, path: Path) -> bool:
        """Whether every folder on the way to `path`, and `path` itself, has its x bit set for this account."""
        resolved = path.resolve()
        return all(self._may_search(step.stat()) for step in (resolved, *resolved.parents))

    def _may_search(self, info: os.stat_result) -> bool:
        if info.st_uid == self.uid:
            return bool(info.st_mode & stat.S_IXUSR)
        if info.st_gid == self.gid:
            return bool(info.st_mode & stat.S_IXGRP)
        return bool(info.st_mode & stat.S_IXOTH)


def unprivileged_account() -> Account | None:
    """None for an ordinary user; for root, the account that stands in where a server refuses to run as root.

    Raises:
        LocalStackError: root, and no such account is there.
    """
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(uid=entry.pw_uid, gid=entry.pw_gid)
    raise LocalStackError(
        "PostgreSQL does not run as root, and there is neither an account postgres nor nobody: use an ordinary account"
    )


def make_socket_folder(account: Account | None) -> Path:
    """A new folder that only `account` (and root) can enter, with a path short enough for a socket.

    Raises:
        LocalStackError: there is no place for one.
    """
    roots = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]  # noqa: S108  # mkdtemp makes it private
    root = next((root for root in roots if _SHORT_PLAIN_PATH.fullmatch(str(root)) and _usable(root, account)), None)
    if root is None:
        raise LocalStackError(f"no folder for sockets: none of {', '.join(map(str, roots))} can be written to")
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
    if account:
        os.chown(folder, account.uid, account.gid)
    return folder


def remove_socket_folder(folder: Path) -> None:
    """Remove what `make_socket_folder` has made; a folder that it cannot have made stays."""
    if folder.name.startswith(_PREFIX):
        shutil.rmtree(folder, ignore_errors=True)


def _usable(root: Path, account: Account | None) -> bool:
    return root.is_dir() and os.access(root, os.W_OK | os.X_OK) and (account is None or account.reaches(root))
