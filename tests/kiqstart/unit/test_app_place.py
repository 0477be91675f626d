import os
import sys
from pathlib import Path

import pytest

from kiqstart.app_finder import find_app
from kiqstart.app_place import AppNotFoundError, app_place, needed_app_place, project_folder
from kiqstart.trust import UntrustedPathError
from kiqstart.worker.loading import LoadError, extend_path
from kiqstart.worker.options import parse_options


def test_a_project_is_found_from_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KIQSTART_APP")
    (tmp_path / "pyproject.toml").write_text('[tool.kiqstart]\napp = "shop.app:app"\n')
    below = tmp_path / "docs" / "pages"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert project_folder() == tmp_path
    assert app_place() == "shop.app:app"
    monkeypatch.setenv("KIQSTART_APP", "shop.other:app")
    assert app_place() == "shop.other:app"


@pytest.mark.parametrize(
    "content",
    [
        *('[project]\nname = "another"\n', "[tool.x]\n", "not toml", "\x80"),
        *("tool = 5", "[tool]\nkiqstart = 5", "a = " + "[" * 5000),
    ],
    ids=lambda content: content[:20],
)
def test_where_nothing_names_an_application_one_line_says_how_to(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KIQSTART_APP", raising=False)
    (tmp_path / "pyproject.toml").write_text(content, encoding="latin-1")
    monkeypatch.chdir(tmp_path)
    assert project_folder() == tmp_path
    assert app_place() is None
    with pytest.raises(AppNotFoundError, match="use --app module:name, set KIQSTART_APP, or write app = "):
        needed_app_place()


def test_a_project_that_others_can_change_names_no_application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KIQSTART_APP")
    (tmp_path / "pyproject.toml").write_text('[tool.kiqstart]\napp = "shop.app:app"\n')
    (tmp_path / "pyproject.toml").chmod(0o666)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UntrustedPathError, match=r"pyproject\.toml can be written by other users"):
        app_place()


# In a sticky folder, as /tmp is, anybody may make a module.
@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_a_folder_that_others_can_change_is_not_imported_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    (tmp_path / "planted_shop.py").write_text("raise SystemExit('planted')")
    tmp_path.chmod(mode)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LoadError, match=r"there is no module 'planted_shop' .* can be written by other users"):
        find_app("planted_shop:app")
    with monkeypatch.context() as during:
        during.setattr(sys, "path", list(sys.path))
        extend_path(parse_options(["planted_shop:broker"], program="kiqstart worker"))
        assert str(tmp_path) not in sys.path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_folder_with_a_module_of_another_user_is_not_imported_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "planted_shop.py").write_text("raise SystemExit('planted')")
    os.chown(tmp_path / "planted_shop.py", 54321, 54321)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LoadError, match=r"planted_shop\.py belongs to user 54321, so nothing is imported from there"):
        find_app("planted_shop:app")


def test_without_a_project_it_is_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    assert project_folder() == tmp_path / "inner"
