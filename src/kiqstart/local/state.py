"""What a supervisor writes down for the users of its server, and for whoever cleans up after it."""

import json
import os
import signal
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from kiqstart.local.account import remove_socket_folder
from kiqstart.local.errors import LocalStackError
from kiqstart.local.locks import FileLock
from kiqstart.trust import open_own

_FILE = "state.json"
_END_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class State:
    """The state of one server; `url` is there from the moment it answers until it is being stopped."""

    supervisor: int
    sockets: str
    description: str
    server: int | None = None
    url: str | None = None

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The state in `folder`, None where there is none (or one that another version wrote)."""
        try:
            with os.fdopen(open_own(folder / _FILE, os.O_RDONLY), encoding="utf-8") as file:
                return cls(**json.load(file))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write(self, folder: Path) -> None:
        """Replace the state in `folder` in one step."""
        new = folder / f"{_FILE}.new"
        with os.fdopen(open_own(new, os.O_WRONLY | os.O_CREAT, empty=True), "w", encoding="utf-8") as file:
            json.dump(asdict(self), file)
        new.replace(folder / _FILE)

    def remove(self, folder: Path) -> None:
        """Remove the sockets, then the state."""
        remove_socket_folder(Path(self.sockets))
        (folder / _FILE).unlink(missing_ok=True)


def recover(folder: Path) -> None:
    """Clean up after a supervisor that was killed: end the server that it left, remove its sockets and its state.

    Only for the holder of the supervisor's lock. Every process of the server has inherited a lock on `server.lock`, so
    that the recorded process id is known to be ours, and its end is known to be everyone's end.

    Raises:
        LocalStackError: the server that is left does not end.
    """
    state = State.read(folder)
    with FileLock(folder / "server.lock") as server_lock:
        for number in (signal.SIGINT, signal.SIGKILL):
            if server_lock.try_exclusive():
                break
            if state and state.server:
                with suppress(ProcessLookupError):
                    os.kill(state.server, number)
            if server_lock.exclusive_within(_END_SECONDS):
                break
        else:
            which = f" (process {state.server})" if state and state.server else ""
            raise LocalStackError(
                f"{folder}: the server of an earlier run does not end{which}: kill it, then try again"
            )
    if state:
        state.remove(folder)
