import gc
import logging
import os
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings
from tests.planted_secrets import (
    pytest_configure,
    pytest_runtest_makereport,
    pytest_runtest_teardown,
    pytest_sessionfinish,
    servers,
)

from kiqstart.observability import redaction

# How long an example takes is the machine's affair.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

# What a test runs hears Ctrl-C and SIGHUP also where the tests themselves run in the background or below nohup.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)

# Whatever folder a command is run in, it is about the service.
os.environ["KIQSTART_APP"] = "todo_service.ioc.app:create_app"

# What takes long comes first, and what is quick last, so that at the end no core waits for another.
_ORDER: Final = (
    "tests/todo_service/integration/typing",
    "tests/simulation",
    "tests/release",
    "tests/end_to_end",
    "tests/conformance",
    "tests/fuzz",
    "tests/kiqstart/integration",
    "tests/todo_service/integration",
    "tests",
    "tests/kiqstart/unit",
    "tests/todo_service/unit",
)


@pytest.fixture(autouse=True)
def _forget_what_was_concealed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test lets be replaced in all texts may be an ordinary word in another one's."""
    monkeypatch.setattr(redaction._CONCEALED, "_notations", redaction._CONCEALED._notations)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Do not look for garbage among the tests, now or later: there are many, and they stay."""
    gc.disable()
    collected = yield
    gc.freeze()
    gc.enable()
    return collected


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the files by how long they take."""
    places_of_folders = {config.rootpath / folder: place for place, folder in enumerate(_ORDER)}

    def place(path: Path) -> int:
        return next((places_of_folders[folder] for folder in path.parents if folder in places_of_folders), len(_ORDER))

    places = {path: place(path) for path in {item.path for item in items}}
    items.sort(key=lambda item: places[item.path])


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of a test session share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(autouse=True)
def log_levels() -> Generator[None]:
    """A worker or a command in the test's process sets them; the next test logs as if it were the only one.

    `setLevel` also makes loggers forget what they have noted of levels.
    """
    levels = [(one, one.level) for one in (logging.getLogger(), logging.getLogger("taskiq"))]
    yield
    for one, level in levels:
        one.setLevel(level)


__all__ = [
    "log_levels",
    "pytest_configure",
    "pytest_runtest_makereport",
    "pytest_runtest_teardown",
    "pytest_sessionfinish",
    "servers",
    "session_folder",
]

# Of two fixtures with one name, that of the plugin counts which is named later.
pytest_plugins = ["kiqstart.testing.plugin", "tests.service", "tests.printable_reports"]
