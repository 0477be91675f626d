"""A PostgreSQL of the tests' own, which they stop as they like, and a replica of it."""

import shutil
import signal
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote

from tests.deadlines import HANG

from kiqstart.local.account import make_socket_folder
from kiqstart.local.postgres import DATABASE, PostgresServer, find_postgres
from kiqstart.local.server import Command

IMMEDIATE: Final = signal.SIGQUIT
"""As `pg_ctl stop -m immediate`: like a crash. The server recovers at its next start."""
FAST: Final = signal.SIGINT
"""As `pg_ctl stop -m fast`: all connections are ended."""

# Later settings win over those of the local stack. As there, commits do not wait for the disk, so a crash
# loses the last ones: here all since the last checkpoint.
_PRIMARY: Final = ("-c", "wal_level=replica", "-c", "max_wal_senders=4", "-c", "wal_writer_delay=10s")
_STANDBY: Final = ("-c", "wal_receiver_status_interval=1s")


class PrivateServer:
    """A server on a socket."""

    def __init__(self, programs: PostgresServer, sockets: Path, *, port: int, command: Command) -> None:
        self.url: Final = f"postgresql://postgres@/{DATABASE}?host={quote(str(sockets), safe='')}&port={port}"
        self._programs: Final = programs
        self._who: Final = ("-h", str(sockets), "-p", str(port), "-U", "postgres")
        self._command: Final = command
        self._log: Final = sockets / f"{port}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        with self._log.open("ab") as log:
            self._process = _popen(self._command, log)
        deadline = time.monotonic() + HANG
        while not self._is_ready(self._process.pid):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(f"the server does not answer:\n{self._log.read_text()}")
            time.sleep(0.02)

    def _is_ready(self, pid: int) -> bool:
        """Read what `pg_ctl start --wait` reads: a process for each look takes longer than the start."""
        folders = [value for option, value in pairwise(self._command.arguments) if option == "-D"]
        status = Path(folders[-1]) / "postmaster.pid"
        words = status.read_text().split() if status.exists() else []
        return words[:1] == [str(pid)] and words[-1] == "ready"

    def stop(self, how: signal.Signals = IMMEDIATE) -> None:
        """Stop it, and wait until it is gone."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(HANG)
            self._process = None

    @contextmanager
    def standby(self) -> Generator["PrivateServer"]:
        """Make a replica from a backup, and run it."""
        sockets, data = self._log.parent, self._log.parent / "standby"
        backup = ("-D", data, "--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf", "--no-sync")
        _run(self._programs._command("pg_basebackup", *self._who, *backup))
        arguments = (*self._command.arguments, "-D", data, "-p", "5433", *_STANDBY)
        command = replace(self._command, arguments=arguments)
        replica = PrivateServer(self._programs, sockets, port=5433, command=command)
        try:
            replica.start()
            yield replica
        finally:
            replica.stop()
            shutil.rmtree(data)


def _popen(command: Command, log: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    account = command.account
    return subprocess.Popen(
        [str(argument) for argument in command.arguments],
        cwd=command.folder,
        env=command.environment,
        stdin=subprocess.DEVNULL if log else subprocess.PIPE,
        stdout=log or subprocess.PIPE,
        stderr=log or subprocess.STDOUT,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )


def _run(command: Command) -> None:
    with _popen(command) as process:
        output, _ = process.communicate(command.stdin.encode(), timeout=HANG)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command.arguments, output.decode())


@contextmanager
def private_server(folder: Path) -> Generator[PrivateServer]:
    """Make a server with its data in `folder`, and run it."""
    programs = find_postgres(folder)
    sockets = make_socket_folder(programs.account)
    try:
        folder.mkdir()
        programs.prepare(_run)
        command = programs.command(sockets)
        command = replace(command, arguments=(*command.arguments, *_PRIMARY))
        server = PrivateServer(programs, sockets, port=5432, command=command)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(sockets)
        if (elsewhere := folder / "elsewhere").is_symlink():
            shutil.rmtree(elsewhere.readlink())
