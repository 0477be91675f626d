"""One process's use of one server."""

import subprocess
import sys
import time
from pathlib import Path

from kiqstart.local.errors import LocalStackError
from kiqstart.local.locks import FileLock
from kiqstart.local.log import log_path, open_log, read_last_line
from kiqstart.local.state import State, recover
from kiqstart.trust import make_trusted_folder

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.02


class Lease:
    """Keeps the server of `kind` in `folder` running from `acquire` to `release`, whoever started it.

    A user shares the lock `users.lock`; the supervisor takes it alone when nobody shares it any more. The supervisor
    has the lock `supervisor.lock` for as long as it lives: whoever can take that one starts the next supervisor.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        self._kind = kind
        self._folder = folder
        self._users: FileLock | None = None
        self._starter: subprocess.Popen[bytes] | None = None

    def acquire(self) -> None:
        """Wait for an ending server to end, then start it unless it runs; it may not answer yet.

        Raises:
            LocalStackError: the folder cannot be made, or the old server does not end.
            UntrustedPathError: another user can change the folder, or it cannot be looked at.
        """
        try:
            make_trusted_folder(self._folder)
            self._users = FileLock(self._folder / "users.lock")
        except OSError as error:
            raise LocalStackError(f"{self._folder}: {error.strerror}: remove it, or use its owner's account") from error
        if not self._users.shared_within(_STOP_SECONDS):
            raise LocalStackError(f"{self._folder}: the server there does not end (log: {log_path(self._folder)})")
        self._start_unless_running()

    def wait_ready(self) -> State:
        """Wait until the server answers; its URL is in the state.

        Raises:
            LocalStackError: it did not start.
        """
        deadline = time.monotonic() + _START_SECONDS
        while True:
            self._start_unless_running()
            state = State.read(self._folder)
            if state and state.url:
                return state
            if time.monotonic() > deadline:
                raise self._failure(f"no answer within {_START_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)

    def release(self) -> bool:
        """Give the server up; true when nobody else was using it, so that it ends now. May be called twice."""
        if self._starter:
            self._starter.wait()
        if self._users is None:
            return False
        with self._users as users:
            self._users = None
            return users.try_exclusive()

    def wait_ended(self) -> None:
        """Wait until the supervisor has ended; for the last user, or it would wait in vain."""
        with FileLock(self._folder / "supervisor.lock") as supervisor_lock:
            supervisor_lock.shared_within(_STOP_SECONDS)

    def _start_unless_running(self) -> None:
        with FileLock(self._folder / "supervisor.lock") as supervisor_lock:
            if not supervisor_lock.try_exclusive():
                return
            if self._starter:
                raise self._failure(read_last_line(self._folder))
            recover(self._folder)
            # Not from the working directory, which may be anybody's (-P).
            module = ("-P", "-m", "kiqstart.local")
            with open_log(self._folder) as log:
                self._starter = subprocess.Popen(
                    [sys.executable, *module, self._kind, str(self._folder)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(supervisor_lock.fileno(),),
                    start_new_session=True,
                )

    def _failure(self, reason: str) -> LocalStackError:
        return LocalStackError(f"{self._kind} did not start: {reason} (log: {log_path(self._folder)})")
