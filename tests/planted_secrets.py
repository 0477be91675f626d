"""Passwords in the URLs of the session's servers, which ask for none, and a look for them in all that tests print.

Every process of a test logs to a file of its folder; commands' output and the tests' own is captured.
"""

import dataclasses
import os
from collections.abc import Generator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from kiqstart.testing.servers import Servers

DATABASE_PASSWORD = "planted/Datab@se-1"
REDIS_PASSWORD = "planted-Redis-1"
# As it stands in any notation of these.
_SIGN = "planted"


@pytest.fixture(scope="session")
def servers(servers: Servers) -> Servers:
    """The session's servers, with planted passwords."""
    return planted(servers)


def planted(servers: Servers) -> Servers:
    """Servers with passwords, which those of this project's own are content with."""
    database, redis = servers.database_url, servers.redis_url
    if "DATABASE_URL" not in os.environ:
        database = make_url(database).set(password=DATABASE_PASSWORD).render_as_string(hide_password=False)
    if redis is not None and "REDIS_URL" not in os.environ:
        redis = f"{redis}&username=default&password={REDIS_PASSWORD}"
    return dataclasses.replace(servers, database_url=database, redis_url=redis)


def check_output(text: str) -> None:
    """Fail if a planted secret stands in it."""
    assert _SIGN not in text, f"a secret is printed: {_around(text)}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Look through the logs of a test's processes when they have ended."""
    yield
    arguments: dict[str, object] = getattr(item, "funcargs", None) or {}
    folder = arguments.get("tmp_path")
    for log in folder.rglob("*.log") if isinstance(folder, Path) else ():
        check_output(log.read_text(errors="replace"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,  # noqa: ARG001  # the hook's
    call: pytest.CallInfo[None],  # noqa: ARG001  # the hook's
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Look through what a test has printed and logged itself."""
    report = yield
    for title, text in report.sections:
        if report.passed and _SIGN in text:
            report.outcome = "failed"
            report.longrepr = f"a secret is in the {title}: {_around(text)}"
    return report


def _around(text: str) -> str:
    place = text.find(_SIGN)
    return text[max(place - 300, 0) : place + 100]
