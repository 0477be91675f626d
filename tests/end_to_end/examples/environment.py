"""An empty environment with the wheel that this checkout makes, as a user has it."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.deadlines import HANG

from kiqstart.local.locks import FileLock

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
_PACKAGES = ("broker", "scheduler", "retention", "dashboard", "testing")
_PUBLIC = ("kiqstart", *(f"kiqstart.{name}" for name in _PACKAGES))
_IMPORT = re.compile(r"^\s*(?:from|import) (kiqstart[\w.]*)(?: import (\([^)]*\)|[^\n]*))?", re.MULTILINE)


_END: Final = "\x1e"
_RUN_COMMANDS: Final = f"""
import shlex, sys
from kiqstart.cli.main import run_command

for command in sys.argv[1:]:
    sys.argv = ["kiqstart", *shlex.split(command)]
    code = 0
    try:
        run_command()
    except SystemExit as ended:
        code = ended.code or 0
    print(code, end={_END!r}, flush=True)
"""


@dataclass(frozen=True, kw_only=True)
class Example:
    """A copy of an example in a folder of its own, with an environment that knows nothing of this checkout.

    Args:
        folder: of the copy.
        programs: where its environment has its commands.
        environment: what its processes get beside a path.
    """

    folder: Path
    programs: Path
    environment: Mapping[str, str]

    def run(self, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command of the environment in the folder, to its end."""
        return subprocess.run(
            self.command(*command),
            cwd=self.folder,
            env=self.variables,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=HANG,
        )

    def output_of(self, *command: str, stdin: str = "") -> str:
        """Run a command that is to succeed, and give what it prints."""
        done = self.run(*command, stdin=stdin)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def outputs_of(self, *commands: str) -> dict[str, str]:
        """Run several `kiqstart` commands, one after the other in one process, and give what each of them prints.

        The last line is its exit code. To start a process for each would take a second.
        """
        *printed, rest = self.output_of("python", "-c", _RUN_COMMANDS, *commands).split(_END)
        assert not rest
        return dict(zip(commands, printed, strict=True))

    def command(self, *command: str) -> list[str]:
        """A command line of the environment."""
        return [str(self.programs / command[0]), *command[1:]]

    @property
    def variables(self) -> dict[str, str]:
        """Its environment variables: nothing of the test process', but what a shell has."""
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        return {**kept, "PATH": f"{self.programs}:{os.environ['PATH']}", **self.environment}


def build_wheel(target: Path, checkout: Path = ROOT) -> Path:
    """Make the wheel of a checkout, with what is installed here."""
    source = target / "to-build"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(checkout / name, source)
    shutil.copytree(checkout / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__"))
    _uv("build", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", str(target), str(source))
    [wheel] = target.glob("*.whl")
    return wheel


def make_environment(folder: Path, packages: Sequence[str]) -> Path:
    """Make an empty environment with these packages, at the versions of the lock; gives where its commands are."""
    _uv("venv", "--python", sys.executable, str(folder))
    python = str(folder / "bin" / "python")
    install = ("pip", "install", "--python", python, "--constraints", str(ROOT / "requirements.lock"), *packages)
    try:
        # All of it was fetched when the checkout was installed.
        _uv(*install, "--offline")
    except subprocess.CalledProcessError:
        _uv(*install)
    _take_compiled(Path(sysconfig.get_path("purelib", vars={"base": str(folder)})))
    return folder / "bin"


def _take_compiled(packages: Path) -> None:
    """Take over what is compiled here of the same files: to compile the libraries again takes as long as the tests."""
    here = Path(sysconfig.get_path("purelib"))
    ending = f".{sys.implementation.cache_tag}.pyc"
    for compiled in here.rglob(f"__pycache__/*{ending}"):
        source = compiled.parents[1] / f"{compiled.name.removesuffix(ending)}.py"
        theirs = packages / source.relative_to(here)
        if source.exists() and theirs.exists() and _is_same(source.stat(), theirs.stat()):
            target = theirs.parent / "__pycache__" / compiled.name
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(compiled, target)


def _is_same(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether Python takes what was compiled of one file for what was compiled of the other."""
    return (int(one.st_mtime), one.st_size) == (int(other.st_mtime), other.st_size)


def session_environment(session: Path) -> Path:
    """Where the commands are of an environment with the wheel of this checkout and what the examples' READMEs install.

    All processes of a test session share it, in the folder of the session.
    """
    programs = session / "environment" / "bin"
    with FileLock(session / "environment.lock") as lock:
        assert lock.exclusive_within(HANG), "another process makes the environment and does not end"
        if not (programs / "kiqstart").exists():
            with TemporaryDirectory() as folder:
                wheel = build_wheel(Path(folder))
                packages = [f"{wheel}[dashboard,local,testing]", "aioinject", "fastapi", "httpx"]
                make_environment(programs.parent, packages)
    return programs


def check_imports(folder: Path) -> int:
    """Check that an example takes public names only; gives how many lines of code it has."""
    lines = 0
    for path in folder.rglob("*.py"):
        code = path.read_text()
        lines += sum(1 for line in code.splitlines() if line.strip())
        for package, names in _IMPORT.findall(code):
            assert package in _PUBLIC, f"{path}: {package}"
            known = import_module(package).__all__
            assert not [name for name in re.findall(r"\w+", names) if name not in known], path
    return lines


def _uv(*arguments: str) -> None:
    local = ROOT / ".local" / "uv" / "bin" / "uv"
    program = str(local) if local.exists() else shutil.which("uv")
    assert program, "these tests need uv: run `make install`"
    cache = {"UV_CACHE_DIR": str(ROOT / ".local" / "uv-cache"), **os.environ}
    subprocess.run(
        [program, "--quiet", *arguments], env=cache, check=True, capture_output=True, text=True, timeout=HANG
    )
