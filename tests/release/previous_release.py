"""The release before this checkout, installed in an environment of its own."""

import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.deadlines import HANG
from tests.end_to_end.examples.environment import ROOT, build_wheel, make_environment, session_environment

VARIABLE: Final = "PREVIOUS_RELEASE"


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A version of kiqstart.

    Args:
        name: the tag or commit it was built from.
        programs: where its commands are.
    """

    name: str
    programs: Path


def this_checkout() -> Installed:
    """What the tests run with."""
    return Installed(name="this checkout", programs=Path(sys.prefix) / "bin")


def previous_release(folder: Path, session: Path) -> Installed:
    """The wheel of the last release's tag; of another tag or commit where the environment variable names one.

    As long as nothing is released, it is a wheel of this checkout: both installs are then of one version, and what is
    shown is that two of them get on, and that this test is ready.

    Args:
        folder: empty, for the wheel and the environment.
        session: of the test session.
    """
    name = os.environ.get(VARIABLE) or _last_tag()
    if not name:
        nothing = "a wheel of this checkout, since nothing is released yet"
        return Installed(name=nothing, programs=session_environment(session))
    source = folder / "source"
    source.mkdir()
    packed = folder / "source.tar"
    _git("archive", f"--output={packed}", name, "src", "pyproject.toml", "README.md", "LICENSE")
    with tarfile.open(packed) as archive:
        archive.extractall(source, filter="data")
    wheel = build_wheel(folder, source)
    return Installed(name=name, programs=make_environment(folder / "venv", [str(wheel)]))


def _last_tag() -> str:
    """The last release before what is checked out; '' where there is none, or no history."""
    try:
        return _git("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", "HEAD").decode().strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*arguments: str) -> bytes:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, timeout=HANG).stdout
