import os
import signal
import subprocess
import sysconfig
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kiqstart.testing import ProcessFactory, ServiceProcess

KIQSTART = str(Path(sysconfig.get_path("scripts")) / "kiqstart")
SECONDS_TO_END = 30.0


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """`kiqstart`, as a shell runs it, on the test's servers."""

    environment: Mapping[str, str]
    folder: Path

    def run(
        self, *arguments: str, stdin: str = "", environment: Mapping[str, str] | None = None, folder: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [KIQSTART, *arguments],
            env={**os.environ, **self.environment, **(environment or {})},
            cwd=folder or self.folder,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @contextmanager
    def start(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Generator[ServiceProcess]:
        """Run it in the background, in a session of its own, of which nothing may be left when it has ended."""
        factory = ProcessFactory(command=[KIQSTART], environment=self.environment, ready="", log_folder=self.folder)
        process = factory.start(*arguments, environment=environment)
        try:
            yield process
            process.wait(SECONDS_TO_END)
            left = processes_of(process)
        finally:
            for pid in processes_of(process):
                os.kill(pid, signal.SIGKILL)
            process.kill()
        assert not left, process.log


def processes_of(process: ServiceProcess) -> dict[int, str]:
    """All that runs in the session of a process, by id, with the command lines."""
    command = ["ps", "-A", "-o", "pid=,sess=,stat=,args="]
    listing = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line.split(maxsplit=3) for line in listing.stdout.splitlines()]
    # Zombies have ended.
    return {int(row[0]): row[-1] for row in rows if row[1] == str(process.pid) and not row[2].startswith("Z")}
