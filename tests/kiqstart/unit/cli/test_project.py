from pathlib import Path

import pytest

from kiqstart.cli.project import project_folder


def test_a_checkout_is_found_from_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "kiqstart"\n')
    below = tmp_path / "docs" / "pages"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert project_folder() == tmp_path


@pytest.mark.parametrize("content", ['[project]\nname = "another"\n', "[tool.x]\n", "not toml", "\x80"])
def test_another_project_is_none(content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text(content, encoding="latin-1")
    monkeypatch.chdir(tmp_path)
    assert project_folder() == tmp_path


def test_without_a_checkout_it_is_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    assert project_folder() == tmp_path / "inner"
