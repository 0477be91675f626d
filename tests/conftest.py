import os

from hypothesis import HealthCheck, settings
from tests.planted_secrets import (
    pytest_configure,
    pytest_runtest_makereport,
    pytest_runtest_teardown,
    pytest_sessionfinish,
    servers,
)

# How long an example takes is the machine's affair.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

# Whatever folder a command is run in, it is about the service.
os.environ["KIQSTART_APP"] = "todo_service.ioc.app:create_app"

__all__ = [
    "pytest_configure",
    "pytest_runtest_makereport",
    "pytest_runtest_teardown",
    "pytest_sessionfinish",
    "servers",
]

# Of two fixtures with one name, that of the plugin counts which is named later.
pytest_plugins = ["kiqstart.testing.plugin", "tests.service", "tests.printable_reports"]
