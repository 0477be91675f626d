"""Listening at an address of this machine."""

import errno
import socket
import sys

from kiqstart.errors import OperatorError
from kiqstart.observability.terminal_escape import escape


class CannotListenError(OperatorError):
    """An address cannot be listened at."""


def listen_at(host: str, port: int) -> socket.socket:
    """Listen at a host's address.

    Args:
        host: a name or an address.
        port: 0 for any that is free.

    Raises:
        CannotListenError: the address is none of this machine's, or another program has the port.
    """
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(place[:2], family=family)
    except (OSError, UnicodeError) as error:
        raise CannotListenError(f"cannot listen at {escape(host)}, port {port}: {_why(error)}") from None


def say_where(listener: socket.socket) -> None:
    """Say in a line on standard error at which free port figures and health are asked for: no log is set up yet."""
    sys.stderr.write(f"kiqstart: figures and health are at {url_of(listener)}\n")
    sys.stderr.flush()


def _why(error: OSError | UnicodeError) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return "another program does; choose another port"
    # Python's own text goes on with what it was doing.
    return str(error).partition(" (while")[0]


def url_of(listener: socket.socket) -> str:
    """Where a browser finds what listens there."""
    address = listener.getsockname()
    host = f"[{address[0]}]" if listener.family == socket.AF_INET6 else address[0]
    return f"http://{host}:{address[1]}"
