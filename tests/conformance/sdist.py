"""The tests that taskiq publishes in its sdist, of exactly the version that is installed."""

import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from kiqstart.local.locks import FileLock

_LOCK: Final = Path(__file__).with_name("taskiq.lock")
_SECONDS_FOR_ANOTHER_DOWNLOAD: Final = 100.0


class NoPublishedTestsError(Exception):
    """taskiq's tests could not be had; the message says what to do."""


def published_tests(folder: Path) -> Path:
    """Where taskiq's tests are; the first call downloads them, also when several processes call at once.

    Args:
        folder: where they are kept, each version in a folder of its own.

    Raises:
        NoPublishedTestsError: another version of taskiq is installed, or the sdist cannot be downloaded.
    """
    pinned, digest = _pinned()
    if pinned != (installed := version("taskiq")):
        raise NoPublishedTestsError(
            f"taskiq {installed} is installed, but {_LOCK.name} has the sdist of {pinned}: "
            f"write the version and its sdist's hash there, and go through selection.py"
        )
    tests = folder / f"taskiq-{pinned}-{digest[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "download.lock") as lock:
        if not lock.exclusive_within(_SECONDS_FOR_ANOTHER_DOWNLOAD):
            raise NoPublishedTestsError(f"another process downloads taskiq's tests to {folder} and does not end")
        if not tests.exists():
            with TemporaryDirectory(dir=folder) as temporary:
                _unpack(_download(Path(temporary)), Path(temporary)).rename(tests)
    return tests


def _pinned() -> tuple[str, str]:
    requirement, _, digest = _LOCK.read_text(encoding="utf-8").strip().partition(" --hash=sha256:")
    return requirement.removeprefix("taskiq=="), digest


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    # pip asks the sdist's build backend for its metadata: hatchling, which is installed here as it builds kiqstart too.
    options = ["--no-deps", "--no-binary", "taskiq", "--no-build-isolation", "--require-hashes"]
    pip = subprocess.run(
        [*command, *options, "--requirement", str(_LOCK), "--dest", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if pip.returncode:
        reason = next((line for line in pip.stderr.splitlines() if line.startswith("ERROR: ")), "it does not say why")
        raise NoPublishedTestsError(
            f"pip cannot download the sdist in {_LOCK.name} that has taskiq's tests: {reason.removeprefix('ERROR: ')}"
        )
    return next(folder.glob("taskiq-*.tar.gz"))


def _unpack(sdist: Path, folder: Path) -> Path:
    # Without the package itself: what is tested is the one that is installed.
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    unpacked = folder / sdist.name.removesuffix(".tar.gz")
    shutil.rmtree(unpacked / "taskiq")
    return unpacked
