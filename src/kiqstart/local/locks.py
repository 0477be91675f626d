"""Advisory locks on files, which the kernel drops when their holder ends, however it ends."""

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from kiqstart.trust import open_own

_POLL_SECONDS = 0.02


class FileLock:
    """One open lock file; independent of every other opening of it, in this process too.

    The file itself stays: to delete a lock file lets two holders lock two different files of one name.
    Child processes inherit the lock only through `pass_fds`, and then keep it for as long as any of them lives.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = open_own(path, os.O_RDWR | os.O_CREAT)

    def fileno(self) -> int:
        """The descriptor, to pass on to a child process."""
        return self._descriptor

    def try_exclusive(self) -> bool:
        """Take the lock alone, or say at once that it is held; a shared lock held until then is given up either way."""
        return self._try(fcntl.LOCK_EX)

    def try_shared(self) -> bool:
        """Take the lock beside other sharers, or say at once that somebody holds it alone."""
        return self._try(fcntl.LOCK_SH)

    def shared_within(self, seconds: float) -> bool:
        """Wait until the lock can be shared; false when that took longer than `seconds`."""
        deadline = time.monotonic() + seconds
        while not self.try_shared():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def exclusive_within(self, seconds: float) -> bool:
        """Wait until the lock can be taken alone; false when that took longer than `seconds`."""
        deadline = time.monotonic() + seconds
        while not self.try_exclusive():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def close(self) -> None:
        """Release the lock, unless a child process holds it too. May be called twice."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _try(self, operation: int) -> bool:
        try:
            fcntl.flock(self._descriptor, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
