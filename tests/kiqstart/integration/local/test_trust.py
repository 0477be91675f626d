"""What another user has put into a folder, or can put there, is neither believed nor followed nor removed."""

import json
import os
import stat
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from kiqstart import trust as module
from kiqstart.broker.settings import TasksSettings
from kiqstart.local import local_stack
from kiqstart.local.lease import Lease
from kiqstart.local.log import open_log
from kiqstart.local.state import State
from kiqstart.settings import load_settings
from kiqstart.trust import UntrustedPathError, check_trusted

SOMEBODY = 54321


@pytest.fixture
def folder() -> Generator[Path]:
    """A folder of our own below one that anybody may write to."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        yield Path(name).resolve()


@pytest.fixture
def another_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """For an ordinary account, which can give nothing away: let it be another account that looks."""
    if os.geteuid() != 0:
        monkeypatch.setattr(os, "geteuid", lambda: SOMEBODY)


def of_somebody(path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(path, SOMEBODY, SOMEBODY, follow_symlinks=False)


def put(folder: Path) -> tuple[Path, Path]:
    """What a stranger leaves for a server's supervisor: a folder to remove and a file to write through a link."""
    precious, other = folder.parent / f"{folder.name}-precious", folder.parent / f"{folder.name}-other"
    precious.mkdir(exist_ok=True)
    other.write_text("precious")
    state = {"supervisor": 1, "sockets": str(precious), "description": "x", "server": 999_999, "url": None}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "supervisor.log").symlink_to(other)
    return precious, other


@pytest.mark.usefixtures("another_account")
@pytest.mark.parametrize("owned", ["shared", "shared/.local", "shared/.local/stack", "shared/.local/stack/redis"])
def test_a_folder_of_another_user_is_left_alone(folder: Path, owned: str) -> None:
    server = folder / "shared/.local/stack/redis"
    server.mkdir(parents=True)
    precious, other = put(server)
    of_somebody(folder / owned)
    with (
        pytest.raises(UntrustedPathError, match="so nothing is believed that is there"),
        local_stack(folder / "shared/.local/stack", postgres=False),
    ):
        pass
    assert precious.is_dir()
    assert other.read_text() == "precious"
    assert {path.name for path in server.iterdir()} == {"state.json", "supervisor.log"}


@pytest.mark.parametrize("mode", [0o757, 0o777])
def test_a_folder_that_anybody_can_write_to_is_refused(folder: Path, mode: int) -> None:
    (folder / "open").mkdir()
    (folder / "open").chmod(mode)
    with pytest.raises(UntrustedPathError, match=r"open can be written by other users"):
        check_trusted(folder / "open" / "below")
    (folder / "open").chmod(mode | stat.S_ISVTX)
    check_trusted(folder / "open" / "below")


@pytest.mark.usefixtures("another_account")
def test_settings_of_another_user_are_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".env").write_text("TASKS_KEY_PREFIX=theirs\n")
    monkeypatch.chdir(folder)
    of_somebody(folder / ".env")
    with pytest.raises(UntrustedPathError, match=r"\.env belongs to .*: work in a folder of your own"):
        load_settings(TasksSettings)
    (folder / ".env").unlink()
    (folder / "ours").write_text("TASKS_KEY_PREFIX=ours\n")
    (folder / "ours").rename(folder / ".env")
    if os.geteuid() == 0:
        assert load_settings(TasksSettings).key_prefix == "ours"


def test_a_file_that_is_replaced_while_it_is_opened_is_ones_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really_open = os.open
    (folder / "state").write_text("old")
    (folder / "new").write_text("new")

    def open_and_replace(path: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = really_open(path, flags, mode)
        (folder / "new").replace(folder / "state")
        return descriptor

    with monkeypatch.context() as during:
        during.setattr(os, "open", open_and_replace)
        descriptor = module.open_own(folder / "state", os.O_RDONLY)
    assert os.read(descriptor, 9) == b"old"
    os.close(descriptor)


def test_a_link_is_as_good_as_what_it_leads_to(folder: Path) -> None:
    (folder / "open").mkdir()
    (folder / "open").chmod(0o777)
    (folder / "link").symlink_to(folder / "open")
    with pytest.raises(UntrustedPathError, match="can be written by other users"):
        check_trusted(folder / "link" / "stack")


def test_folders_are_made_so_that_others_can_only_look(folder: Path) -> None:
    before = os.umask(0)
    try:
        module.make_trusted_folder(folder / "a" / "b")
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "a" / "b").stat().st_mode) == 0o755


def test_what_lay_there_before_a_folder_was_closed_is_not_followed(folder: Path) -> None:
    precious, other = put(folder)
    with pytest.raises(UntrustedPathError, match=r"supervisor\.log: is no file of this account's own"):
        open_log(folder)
    state = State.read(folder)
    assert state is not None
    state.remove(folder)
    assert precious.is_dir()
    (folder / "state.json.new").symlink_to(other)
    with pytest.raises(UntrustedPathError, match="remove it"):
        state.write(folder)
    (folder / "users.lock").hardlink_to(other)
    with pytest.raises(UntrustedPathError, match="remove it"):
        Lease("Redis", folder).acquire()
    assert other.read_text() == "precious"


def test_the_supervisor_imports_nothing_from_the_working_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    assert redis_url
    (folder / "planted").mkdir()
    (folder / "planted" / "json.py").write_text(f"open({str(folder / 'imported')!r}, 'w')\n")
    monkeypatch.chdir(folder / "planted")
    with local_stack(folder / "stack", postgres=False) as urls:
        assert urls.redis_url
    assert not (folder / "imported").exists()
