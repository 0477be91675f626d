"""`kiqstart dashboard hash-password`."""

import getpass
import sys
from typing import Final

from kiqstart.cli.terminal import echo
from kiqstart.dashboard.passwords import LONGEST, hash_password
from kiqstart.errors import OperatorError

_SHORTEST: Final = 8


class UnusablePasswordError(OperatorError):
    """A password is no good."""


def run_hash_password() -> None:
    """Print the hash.

    Raises:
        UnusablePasswordError: it is too short or too long, or was not written the same twice.
    """
    echo(hash_password(_password()))


def _password() -> str:
    try:
        if not sys.stdin.isatty():
            return _checked(sys.stdin.readline().rstrip("\r\n"))
        password = _checked(getpass.getpass("Password: "))
        if getpass.getpass("The same again: ") != password:
            raise UnusablePasswordError("the two are not the same")
    except (EOFError, UnicodeDecodeError):
        raise UnusablePasswordError("no password was written") from None
    return password


def _checked(password: str) -> str:
    size = len(password.encode(errors="surrogatepass"))
    if not (len(password) >= _SHORTEST and size <= LONGEST):
        raise UnusablePasswordError(f"a password has {_SHORTEST} characters or more, and {LONGEST} bytes at most")
    return password
