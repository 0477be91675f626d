import pytest

from kiqstart.testing.plugin import registry

# The plugin's own again, in place of the service's.
__all__ = ["registry"]


@pytest.fixture(autouse=True)
def own_application(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIQSTART_APP", "tests.kiqstart.integration.testing.small_app:create_app")
