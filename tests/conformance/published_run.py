"""A run of taskiq's published tests in a process of its own, with parts of kiqstart in the place of taskiq's."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from tests.conformance.selection import Selection

# Where OpenTelemetry is installed.
_BESIDE: Final = Path(__file__).parents[2] / ".local" / "beside"
_PLUGIN: Final = Path(__file__).parent / "plugin" / "kiqstart_in_taskiq_tests.py"
# Some of taskiq's tests wait for ever where something is wrong.
_SECONDS_A_TEST: Final = 20


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a run.

    Args:
        tests: how many have passed, failed or were skipped, by that word.
        received: how many tests called kiqstart's receiver, through a broker or by themselves.
        output: what pytest has printed.
    """

    tests: Mapping[str, int]
    received: int
    output: str


class PublishedRun:
    """taskiq's tests under way; see `published_run`."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path, report: Path) -> None:
        self._process = process
        self._log = log
        self._report = report

    def outcome(self, seconds: float) -> Outcome:
        """Wait for the end.

        Raises:
            TimeoutExpired: it has not come in so many seconds.
        """
        self._process.wait(seconds)
        output = self._log.read_text(encoding="utf-8", errors="replace")
        cases = list(_cases(self._report)) if self._report.exists() else []
        return Outcome(
            tests=Counter(_word(case) for case in cases), received=sum(map(_has_received, cases)), output=output
        )


@contextmanager
def published_run(
    tests: Path, *, broker: str, selection: Selection, environment: Mapping[str, str], folder: Path
) -> Generator[PublishedRun]:
    """Start a run, and end it with the block.

    Args:
        tests: the unpacked sdist.
        broker: what takes the place of taskiq's in-memory broker, as the plugin names it.
        selection: which of the tests are run.
        environment: further environment variables.
        folder: where its log and its report go.
    """
    log, report = folder / f"{broker}.txt", folder / f"{broker}.xml"
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", f"--broker={broker}"]
    plugins = [word for name in ("anyio", "pytest_timeout", _PLUGIN.stem) for word in ("-p", name)]
    left_out = [f"--{'deselect' if '::' in name else 'ignore'}={name}" for name in selection.without]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *plugins, *left_out, f"--timeout={_SECONDS_A_TEST}", f"--junitxml={report}", *selection.paths],
            cwd=tests,
            env={
                **os.environ,
                **environment,
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "PYTEST_ADDOPTS": "",
                "PYTHONPATH": os.pathsep.join((str(_PLUGIN.parent), str(_BESIDE))),
            },
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield PublishedRun(process, log, report)
    finally:
        process.kill()
        process.wait()


def _cases(report: Path) -> Iterator[ET.Element]:
    return ET.parse(report).getroot().iter("testcase")  # noqa: S314  # pytest has just written it


def _word(case: ET.Element) -> str:
    found = {child.tag for child in case}
    return next((word for word in ("failure", "error", "skipped") if word in found), "passed")


def _has_received(case: ET.Element) -> bool:
    return case.find("properties/property[@name='received']") is not None
