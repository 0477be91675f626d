"""What a forked child does about its parent's connections: it shares them with nobody, and disturbs none.

A child has the parent's sockets, and, if it goes on with the parent's event loop, that loop's epoll too. Closing a
socket there, or just pausing it, would do so for the parent. So each socket is replaced, in the child alone and under
its number, by one that nobody ever writes to; what the child then does with it reaches no one.
"""

import asyncio
import os
import socket
from typing import Final
from weakref import WeakSet

from redis.asyncio.connection import AbstractConnection

from kiqstart.processes.forks import tell_of_forks

# Connections of this process and, in a child, of its parent.
_connections: Final["WeakSet[ForkSafeConnection]"] = WeakSet()
# Both ends stay open: a socket whose other end is closed would be read, for ever, as one that has ended.
_silent: Final[list[socket.socket]] = []


class ForkSafeConnection(AbstractConnection):
    """A connection of redis-py that a child leaves to its parent."""

    # The loop that it was opened in.
    opened_in: asyncio.AbstractEventLoop | None = None

    async def _connect(self) -> None:
        await super()._connect()  # type: ignore[safe-super]  # a subclass stands before one that connects
        self.opened_in = asyncio.get_running_loop()
        _connections.add(self)
        tell_of_forks(self)

    def after_fork(self) -> None:
        """Hold a silent socket instead of the parent's."""
        held = None if self._writer is None else self._writer.transport.get_extra_info("socket")
        number = -1 if held is None else held.fileno()
        if number >= 0:
            os.dup2(_silent_socket().fileno(), number, inheritable=False)


def close_sockets_of(loop: asyncio.AbstractEventLoop) -> None:
    """Close what was left open in an event loop that is closed, and thus closes nothing any more."""
    for one in list(_connections):
        if one.opened_in is loop and one._writer is not None:  # noqa: SLF001  # redis-py has no way without a loop
            held = one._writer.transport.get_extra_info("socket")  # noqa: SLF001  # as above
            one._reader = one._writer = one.opened_in = None  # noqa: SLF001  # redis-py would complain of it
            # asyncio hides the socket behind an object that closes nothing. uvloop has closed it with the loop.
            real: socket.socket | None = getattr(held, "_sock", None)
            if real is not None:
                real.close()


def _silent_socket() -> socket.socket:
    if not _silent:
        _silent.extend(socket.socketpair())
        for end in _silent:
            end.setblocking(False)
    return _silent[0]
