"""A home for the stack of each test."""

import shutil
from collections.abc import Generator
from pathlib import Path

import pytest


@pytest.fixture
def home(tmp_path: Path) -> Generator[Path]:
    home = tmp_path / 'it\'s 50%41 "odd"' / "stack"
    yield home
    elsewhere = home / "postgres" / "elsewhere"
    if elsewhere.is_symlink():
        shutil.rmtree(elsewhere.readlink())
