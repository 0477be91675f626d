"""Which folders an account gets to, and what stands in for the others."""

import os
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from kiqstart.local import stand_in as module
from kiqstart.local.account import Account
from kiqstart.local.stand_in import stand_in, sweep_stand_ins


@pytest.fixture
def folder() -> Generator[Path]:
    """A folder below which only its own mode bits decide, for pytest's own folders are closed to others."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:  # its name is random
        yield Path(name)


@pytest.mark.parametrize(
    ("account", "mode", "reached"),
    [
        (Account(uid=os.geteuid(), gid=os.getegid()), 0o700, True),
        (Account(uid=os.geteuid(), gid=os.getegid()), 0o077, False),
        (Account(uid=54321, gid=os.getegid()), 0o710, True),
        (Account(uid=54321, gid=os.getegid()), 0o701, False),
        (Account(uid=54321, gid=54321), 0o701, True),
        (Account(uid=54321, gid=54321), 0o770, False),
    ],
)
def test_the_mode_bits_say_who_gets_to_a_folder(folder: Path, account: Account, mode: int, reached: bool) -> None:
    folder.chmod(mode)
    assert account.reaches(folder) is reached
    folder.chmod(0o700)


def test_a_closed_parent_closes_what_is_below(folder: Path) -> None:
    folder.chmod(0o700)
    below = folder / "below"
    below.mkdir()
    below.chmod(0o755)
    assert not Account(uid=54321, gid=54321).reaches(below)


def test_stand_ins_are_removed_when_their_folder_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROOT", tmp_path)
    monkeypatch.setattr(module, "_MAKING_SECONDS", 0.0)
    gone, kept = tmp_path / "gone", tmp_path / "kept"
    gone.mkdir()
    kept.mkdir()
    first, second = stand_in(gone), stand_in(kept)
    stranger = tmp_path / "kiqstart-data-stranger"
    stranger.mkdir()
    moved = gone.rename(tmp_path / "moved")
    sweep_stand_ins()
    assert not first.exists()
    assert stand_in(moved) != first
    assert stand_in(kept) == second
    assert stranger.exists()


def test_a_copied_folder_gets_a_stand_in_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROOT", tmp_path)
    original, copy = tmp_path / "original", tmp_path / "copy"
    original.mkdir()
    copy.mkdir()
    first = stand_in(original)
    (copy / "elsewhere").symlink_to(first)
    assert stand_in(copy) != first
    assert stand_in(original) == first
