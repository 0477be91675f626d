import os
import signal
import subprocess
import sysconfig
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.deadlines import HANG
from tests.fork_server.client import ForkingFactory, run_forked
from tests.planted_secrets import check_output

from kiqstart.testing import ServiceProcess

KIQSTART = str(Path(sysconfig.get_path("scripts")) / "kiqstart")


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """`kiqstart`, or another program, as a shell runs it, on the test's servers."""

    environment: Mapping[str, str]
    folder: Path
    program: Sequence[str] = (KIQSTART,)

    def run(
        self, *arguments: str, stdin: str = "", environment: Mapping[str, str] | None = None, folder: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = run_forked(
            [*self.program, *arguments],
            environment={**os.environ, **self.environment, **(environment or {})},
            folder=folder or self.folder,
            stdin=stdin,
            timeout=HANG,
        )
        check_output(done.stderr)
        # These run what a test gives them, which may print its environment.
        if not {"local", "shell"} & {*arguments[:1]}:
            check_output(done.stdout)
        return done

    @contextmanager
    def start(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Generator[ServiceProcess]:
        """Run it in the background, in a session of its own, of which nothing may be left when it has ended."""
        factory = ForkingFactory(command=self.program, environment=self.environment, ready="", log_folder=self.folder)
        process = factory.start(*arguments, environment=environment)
        try:
            yield process
            process.wait(HANG)
            left = processes_of(process)
        finally:
            for pid in processes_of(process):
                os.kill(pid, signal.SIGKILL)
            process.kill()
        assert not left, process.log


def processes_of(process: ServiceProcess) -> dict[int, str]:
    """All that runs in the session of a process, by id, with the command lines."""
    found: dict[int, str] = {}
    for pid, state, arguments in _proc() if Path("/proc/self").exists() else _ps():
        # The process may have ended since it was listed; a zombie has.
        with suppress(ProcessLookupError):
            if os.getsid(pid) == process.pid and not state.startswith("Z"):
                found[pid] = arguments
    return found


def _proc() -> Iterator[tuple[int, str, str]]:
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state = (folder / "stat").read_text().rpartition(") ")[2][:1]
            yield int(folder.name), state, (folder / "cmdline").read_text().replace("\0", " ")


def _ps() -> Iterator[tuple[int, str, str]]:
    listing = subprocess.run(["ps", "-A", "-ww", "-o", "pid=,stat=,args="], capture_output=True, text=True, check=True)  # noqa: S607  # its place differs
    for line in listing.stdout.splitlines():
        pid, state, arguments = line.split(maxsplit=2)
        yield int(pid), state, arguments
