"""Worker and scheduler processes for tests: started, waited for, and ended for real."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SECONDS_TO_START: Final = 60.0
_SECONDS_TO_END: Final = 60.0
_POLL_SECONDS: Final = 0.02


class ServiceProcess:
    """A running process, in a process group of its own, with what it has logged."""

    def __init__(self, process: subprocess.Popen[bytes], log_file: Path) -> None:
        self._process = process
        self._log_file = log_file

    @property
    def pid(self) -> int:
        """The id of the process and of its group."""
        return self._process.pid

    @property
    def log(self) -> str:
        """All that it and its children have written."""
        return self._log_file.read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        """Whether the process or one of its children still runs."""
        self._process.poll()
        try:
            os.killpg(self.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def wait_for_log(self, text: str, *, times: int = 1, timeout: float = _SECONDS_TO_START) -> None:
        """Wait until the log holds `text` that many times.

        Raises:
            TimeoutError: it did not within `timeout` seconds, or the process ended; with the log.
        """
        deadline = time.monotonic() + timeout
        while self.log.count(text) < times:
            if self._process.poll() is not None:
                raise TimeoutError(f"the process ended with {self._process.returncode} before {text!r}:\n{self.log}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {text!r} after {timeout} s:\n{self.log}")
            time.sleep(_POLL_SECONDS)

    def wait(self, timeout: float = _SECONDS_TO_END) -> int:
        """Wait until it ends by itself, and return its exit code."""
        return self._process.wait(timeout)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process itself, not to its children."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """`kill -9` the process and all its children, as a crash of the machine would."""
        if self._process.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self, timeout: float = _SECONDS_TO_END) -> int:
        """Ask it to end (SIGTERM), and return its exit code.

        Raises:
            TimeoutError: it did not within `timeout` seconds and was killed; with the log.
        """
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TimeoutError(f"the process did not end within {timeout} s of SIGTERM:\n{self.log}") from None


@dataclass(frozen=True, kw_only=True)
class ProcessFactory:
    """Starts one kind of process as often as a test likes.

    Args:
        command: program and arguments.
        environment: environment variables beside those of the test process.
        ready: what the log says once it is up.
        log_folder: where logs are kept.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    ready: str
    log_folder: Path

    @contextmanager
    def __call__(
        self, *arguments: str, environment: Mapping[str, str] | None = None, wait: bool = True
    ) -> Generator[ServiceProcess]:
        """Start it with further arguments, wait until it is up, and stop it at the end of the `with` block."""
        process = self.start(*arguments, environment=environment)
        try:
            if wait:
                process.wait_for_log(self.ready)
            yield process
        finally:
            process.stop()

    def start(self, *arguments: str, environment: Mapping[str, str] | None = None) -> ServiceProcess:
        """Start it and return at once; whoever calls this ends it."""
        log_file = self.log_folder / f"{time.monotonic_ns()}.log"
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                [*self.command, *arguments],
                env={**os.environ, **self.environment, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return ServiceProcess(process, log_file)


def taskiq_command(kind: str, *arguments: str) -> list[str]:
    """The command line of `taskiq worker` or `taskiq scheduler`, run by this very Python."""
    return [sys.executable, "-m", "taskiq", kind, *arguments]


def kiqstart_command(*arguments: str) -> list[str]:
    """The command line of `kiqstart`, run by this very Python."""
    return [sys.executable, "-m", "kiqstart", *arguments]
