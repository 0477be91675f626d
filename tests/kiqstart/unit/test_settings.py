from pathlib import Path

import pytest

from kiqstart.broker.settings import TasksSettings
from kiqstart.settings import SettingsError, load_settings
from todo_service.infrastructure.database.settings import RetentionEnvironment


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_that_is_no_text_is_one_line(here: Path) -> None:
    (here / ".env").write_bytes(b"TASKS_LEASE=\xff\n")
    with pytest.raises(SettingsError, match=rf"^settings: {here}/\.env is no UTF-8 text$"):
        load_settings(TasksSettings)


def test_what_is_no_file_is_one_line(here: Path) -> None:
    (here / ".env").symlink_to(".env.d")
    (here / ".env.d").mkdir()
    assert load_settings(TasksSettings).key_prefix


@pytest.mark.parametrize("value", ["", "standby", "[", '{"a": 1}'])
def test_a_list_that_cannot_be_read_names_its_variable_and_not_its_value(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("RETENTION_IGNORED_REPLICAS", value)
    with pytest.raises(SettingsError, match=r"^settings: RETENTION_IGNORED_REPLICAS [^\n]*$") as caught:
        load_settings(RetentionEnvironment)
    assert "standby" not in str(caught.value)


def test_a_list_of_too_many_levels_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETENTION_IGNORED_REPLICAS", "[" * 3000)
    with pytest.raises(SettingsError, match=r"^settings: [^\n]*RETENTION_IGNORED_REPLICAS[^\n]* of too many levels"):
        load_settings(RetentionEnvironment)


def test_a_file_that_somebody_makes_after_it_was_looked_for_is_not_read(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(_: Path) -> bool:
        (here / ".env").write_text("TASKS_KEY_PREFIX=strangers\n")
        return False

    monkeypatch.setattr(Path, "exists", make)
    assert load_settings(TasksSettings).key_prefix != "strangers"
