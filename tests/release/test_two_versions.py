"""The last release and this checkout on one queue: each runs what the other sends, and what its dead workers had."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from tests.deadlines import HANG
from tests.release.previous_release import Installed, previous_release, this_checkout

APP: Final = "two_versions_app"


class Version:
    """An install, beside the application that it runs."""

    def __init__(self, name: str, installed: Installed, folder: Path, variables: dict[str, str]) -> None:
        self.name, self.installed, self._folder = name, installed, folder
        self._variables = {**os.environ, **variables, "KIQSTART_NAME": name, "KIQSTART_FOLDER": str(folder)}
        self._variables.pop("PYTHONPATH", None)

    def app(self, *arguments: str) -> Any:  # noqa: ANN401  # JSON
        done = subprocess.run(
            self._command("python", (f"{APP}.py", *arguments)),
            cwd=self._folder,
            env=self._variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=HANG,
        )
        assert done.returncode == 0, f"{self.installed.name}: {arguments}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    @contextmanager
    def working(self) -> Generator["subprocess.Popen[bytes]"]:
        command = self._command("kiqstart", ("worker", f"{APP}:broker"))
        with subprocess.Popen(command, cwd=self._folder, env=self._variables, stderr=subprocess.DEVNULL) as process:
            try:
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(HANG)

    def _command(self, program: str, arguments: Sequence[str]) -> list[str]:
        return [str(self.installed.programs / program), *arguments]


@pytest.fixture(scope="module")
def installs(tmp_path_factory: pytest.TempPathFactory, session_folder: Path) -> dict[str, Installed]:
    previous = previous_release(tmp_path_factory.mktemp("previous"), session_folder)
    return {"previous": previous, "this": this_checkout()}


@pytest.mark.parametrize(("older", "newer"), [("previous", "this"), ("this", "previous")])
def test_each_runs_what_the_other_sends_and_takes_over_what_it_leaves(
    older: str, newer: str, installs: dict[str, Installed], tmp_path: Path, redis_url: str, key_prefix: str
) -> None:
    print(f"beside this checkout: {installs['previous'].name}")  # noqa: T201  # what a failure was found with
    shutil.copy(Path(__file__).with_name(f"{APP}.py"), tmp_path)
    variables = {"REDIS_URL": redis_url, "KIQSTART_QUEUE": f"{{{key_prefix}}}:tasks"}
    first, second = (Version(name, installs[name], tmp_path, variables) for name in (older, newer))

    with first.working() as worker:
        found = second.app()
        assert found["called"] == called_by(older)
        assert [letter[1:] for letter in found["letters"]] == [["fail", "retries-exhausted"]]
        held, same = found["held"]
        assert held == same
        wait_for(tmp_path / f"held by {older}")
        (tmp_path / "let go").touch()
        worker.kill()
        worker.wait(HANG)
    with second.working():
        found = first.app(held)
    assert found["ran by"] == newer
    assert found["called"] == called_by(newer)
    assert [letter[1:] for letter in found["letters"]] == [["fail", "retries-exhausted"]] * 2
    assert found["left"] == []


def called_by(worker: str) -> list[object]:
    """What comes of the calls where one version runs them."""
    return [[[2 * number, worker] for number in (1, 2, 3, 4)], f"ValueError: refused by {worker}"]


def wait_for(file: Path) -> None:
    until = time.monotonic() + HANG
    while not file.exists():
        assert time.monotonic() < until, f"there is no {file.name}"
        time.sleep(0.02)
