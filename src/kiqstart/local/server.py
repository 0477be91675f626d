"""What a supervisor needs to know of a server."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from kiqstart.local.account import Account


@dataclass(frozen=True, kw_only=True)
class Command:
    """A program with its arguments, as `account` (None: as whoever runs this) in the working directory `folder`."""

    arguments: tuple[str | Path, ...]
    folder: Path
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    account: Account | None = None
    stdin: str = ""


class Server(Protocol):
    """One kind of server. It listens on a socket in a private folder only, so nothing can collide with it."""

    @property
    def description(self) -> str:
        """Name, version and origin, for humans."""
        ...

    @property
    def account(self) -> Account | None:
        """Who the server runs as; None: whoever runs this."""
        ...

    def prepare(self, run: Callable[[Command], None]) -> None:
        """Make what is missing of the data.

        `run` runs a command to its end. It raises when that fails and when nobody is left who wants the server; a later
        call must find nothing half-made then.
        """

    def command(self, sockets: Path) -> Command:
        """The command that is the server, in the foreground."""
        ...

    def answers(self, sockets: Path) -> bool:
        """Whether the server takes commands now."""
        ...

    def url(self, sockets: Path) -> str:
        """Where clients of this project find the server."""
        ...
