from tests.planted_secrets import pytest_runtest_makereport, pytest_runtest_teardown, servers

__all__ = ["pytest_runtest_makereport", "pytest_runtest_teardown", "servers"]

pytest_plugins = ["kiqstart.testing.plugin", "tests.printable_reports"]
