from pathlib import Path

import pytest

from kiqstart.dashboard.passwords import hash_password
from kiqstart.dashboard.settings import DashboardSettings
from kiqstart.settings import SettingsError, load_settings

HASH = hash_password("correct horse")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({}, "is served with a login only: set KIQSTART_DASHBOARD_PASSWORD_HASH"),
        ({"PASSWORD_HASH": "swordfish"}, "KIQSTART_DASHBOARD_PASSWORD_HASH is no hash"),
        ({"VIEWER_PASSWORD_HASH": "swordfish"}, "KIQSTART_DASHBOARD_VIEWER_PASSWORD_HASH is no hash"),
        ({"PROXY_HEADER": "X-User"}, "KIQSTART_DASHBOARD_PROXY_HEADER needs KIQSTART_DASHBOARD_PROXY_ADDRESSES"),
        ({"PROXY_HEADER": "X User", "PROXY_ADDRESSES": "10.0.0.1"}, "KIQSTART_DASHBOARD_PROXY_HEADER "),
        ({"PROXY_HEADER": "X-User", "PROXY_ADDRESSES": "proxy"}, "KIQSTART_DASHBOARD_PROXY_ADDRESSES "),
        ({"PROXY_HEADER": "X-User", "PROXY_ADDRESSES": "10.0.0.1/8"}, "KIQSTART_DASHBOARD_PROXY_ADDRESSES "),
        ({"PASSWORD_HASH": HASH, "SECRET": "swordfish"}, "KIQSTART_DASHBOARD_SECRET "),
        ({"PASSWORD_HASH": HASH, "SESSION_HOURS": "0"}, "KIQSTART_DASHBOARD_SESSION_HOURS "),
    ],
)
def test_what_is_wrong_is_one_line_without_the_value(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], says: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(f"KIQSTART_DASHBOARD_{name}", value)
    with pytest.raises(SettingsError) as caught:
        load_settings(DashboardSettings)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "swordfish" not in str(caught.value)


def test_lists_are_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIQSTART_DASHBOARD_PROXY_HEADER", "X-User")
    monkeypatch.setenv("KIQSTART_DASHBOARD_PROXY_ADDRESSES", "127.0.0.1, 10.0.0.0/8,::1")
    monkeypatch.setenv("KIQSTART_DASHBOARD_PROXY_OPERATORS", "ada, bob")
    found = load_settings(DashboardSettings)
    assert [str(one) for one in found.proxy_addresses] == ["127.0.0.1/32", "10.0.0.0/8", "::1/128"]
    assert found.proxy_operators == ["ada", "bob"]
    assert not found.has_password


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIQSTART_DASHBOARD_PASSWORD_HASH", HASH)
    monkeypatch.setenv("KIQSTART_DASHBOARD_SECRET", "s" * 32)
    shown = repr(load_settings(DashboardSettings))
    assert HASH not in shown
    assert "ssss" not in shown
