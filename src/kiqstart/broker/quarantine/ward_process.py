"""The process for suspects, as the worker sees it that has started it."""

import asyncio
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from kiqstart.broker.quarantine.ward_orders import WardOrders
from kiqstart.processes.child import End

_WARD: Final = "kiqstart.worker.ward_main"
_MOST_BYTES: Final = 2**16
NAME: Final = b"name "
"""What stands before the name that a ward has in Redis, each time it has a new one."""
BYE: Final = b"bye"
"""What a ward says that ends of its own accord, or was asked to: nothing that it has is guilty of that."""


LOSS: Final = b"loss "
"""What stands before a loss of Redis' data, when Redis has it right again what the ward has."""


@dataclass(frozen=True, kw_only=True)
class WardEnd(End):
    """How a ward has ended.

    Args:
        worker: the name that it had in Redis last; None where it never had one.
        is_announced: whether it said so before.
        loss: of Redis' data, the last that it has said; 0 for none. For the witness, also one before it began.
    """

    worker: str | None
    is_announced: bool
    loss: int = 0


class WardProcess:
    """A ward: what it is told, what it says, and its end.

    Raises:
        OSError: the system has no room for it.
    """

    def __init__(self, orders: WardOrders) -> None:
        self._connection, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", _WARD, str(theirs.fileno())]
            try:
                self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
            except OSError:
                self._connection.close()
                raise
        self._loop = asyncio.get_running_loop()
        self.end: asyncio.Future[WardEnd] = self._loop.create_future()
        # Whatever event loop there is, and whoever else waits for children: a thread, as long as there is a ward.
        threading.Thread(target=self._watch, args=(orders.line(),), name="quarantine", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def has_begun(self) -> bool:
        """Whether it takes suspects by now."""
        try:
            return NAME in self._connection.recv(_MOST_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except OSError:  # it has said nothing yet, or has ended
            return False

    def ask_to_end(self) -> None:
        """Let it end once its tasks have."""
        with suppress(OSError):
            self._process.send_signal(signal.SIGTERM)

    def end_at_once(self) -> None:
        """Let it give back its tasks and end."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def kill(self) -> None:
        """End it in the middle of whatever it does."""
        with suppress(OSError):
            self._process.kill()

    def _watch(self, orders: bytes) -> None:
        with suppress(OSError):  # it has died already
            self._connection.sendall(orders)
        code = self._process.wait()
        end = _end(code, self._last_words())
        with suppress(RuntimeError):  # the event loop is closed
            self._loop.call_soon_threadsafe(self._settle, end)

    def _settle(self, end: WardEnd) -> None:
        if not self.end.done():
            self.end.set_result(end)

    def _last_words(self) -> bytes:
        # Its own processes may have kept their end open, so there may be no end of file.
        said = b""
        with self._connection as connection, suppress(OSError):
            connection.setblocking(False)
            while part := connection.recv(_MOST_BYTES):
                said += part
        return said


def _end(code: int, said: bytes) -> WardEnd:
    lines = said.split(b"\n")
    names = [line.removeprefix(NAME).decode() for line in lines if line.startswith(NAME)]
    losses = [int(line.removeprefix(LOSS)) for line in lines if line.startswith(LOSS)]
    worker, loss = names[-1] if names else None, losses[-1] if losses else 0
    return WardEnd(code=code, complaint="", worker=worker, is_announced=BYE in lines, loss=loss)
