"""A secret that anything prints fails its test, wherever it is printed."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

ROOT: Final = Path(__file__).parents[1]
# The sign is put together here, so that what pytest shows of these lines has none.
LEAKS: Final = """
import logging, os, subprocess, sys
SECRET = "plan" + "ted-1"
PRINT = "print('plan' + 'ted-1')"

def test_printed(): print(SECRET)
def test_logged(): logging.getLogger("any").warning("%s", SECRET)
def test_on_standard_error(): print(SECRET, file=sys.stderr)
def test_printed_by_a_command(): subprocess.run([sys.executable, "-c", PRINT], capture_output=True)
def test_printed_as_bytes(): subprocess.check_output([sys.executable, "-c", PRINT])
def test_inherited_by_a_command(): subprocess.run([sys.executable, "-c", PRINT])
def test_logged_by_a_process(tmp_path): (tmp_path / "worker.log").write_text(SECRET)
def test_sound(tmp_path): print("sound"); subprocess.run([sys.executable, "-c", "print('sound')"], capture_output=True)
"""


def test_it_is_found_wherever_it_is_printed(tmp_path: Path) -> None:
    (tmp_path / "test_leaks.py").write_text(LEAKS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    plugins = ["-p", "tests.planted_secrets", "-p", "no:cacheprovider", "-p", "no:xdist"]
    subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, "--junitxml", "report.xml", "test_leaks.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    cases = ET.parse(tmp_path / "report.xml").iter("testcase")  # noqa: S314  # pytest's
    sound = [case.get("name") for case in cases if case.find("failure") is None and case.find("error") is None]
    assert sound == ["test_sound"]
