"""Passwords in the URLs of the session's servers, which ask for none, and a look for them in all that tests print.

Processes of a test log to files of its folder, servers to files below `.local`; what commands print is read by whoever
started them, and what is printed otherwise is captured. All of that is looked through.
"""

import dataclasses
import os
import subprocess
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import make_url

from kiqstart.testing.servers import Servers

DATABASE_PASSWORD = "planted/Datab@se-1"
REDIS_PASSWORD = "planted-Redis-1"
# As it stands in any notation of these.
_SIGN = "planted"
# Commands that run what a test gives them, which may print its environment.
_ANYBODYS = frozenset({"local", "shell"})
Output = str | bytes | None
_LOGS = Path(__file__).parents[1] / ".local" / "test"


@pytest.fixture(scope="session")
def servers(servers: Servers) -> Servers:
    """The session's servers, with planted passwords."""
    return planted(servers)


def planted(servers: Servers) -> Servers:
    """Servers with passwords, which those of this project's own are content with."""
    database, redis = servers.postgres_url, servers.redis_url
    if database is not None and "DATABASE_URL" not in os.environ:
        database = make_url(database).set(password=DATABASE_PASSWORD).render_as_string(hide_password=False)
    if redis is not None and "REDIS_URL" not in os.environ:
        redis = f"{redis}&username=default&password={REDIS_PASSWORD}"
    return dataclasses.replace(servers, postgres_url=database, redis_url=redis)


def check_output(text: str) -> None:
    """Fail if a planted secret stands in it."""
    assert _SIGN not in text, f"a secret is printed: {_around(text)}"


def check_printed_by(command: Sequence[str], *printed: Output) -> None:
    """Fail if a planted secret stands in what a command has printed."""
    for text in () if _ANYBODYS.intersection(command) else printed:
        check_output(text.decode(errors="replace") if isinstance(text, bytes) else text or "")


def pytest_configure() -> None:
    """From now on look through what processes hand to those who started them."""
    communicate = cast("Callable[..., tuple[Output, Output]]", subprocess.Popen.communicate)

    def communicate_and_look(
        process: "subprocess.Popen[Any]",
        input: Any = None,  # noqa: A002, ANN401  # its own
        timeout: float | None = None,
    ) -> tuple[Output, Output]:
        printed = communicate(process, input, timeout)
        command = process.args if isinstance(process.args, list) else []
        check_printed_by([*map(str, cast("list[object]", command))], *printed)
        return printed

    subprocess.Popen.communicate = communicate_and_look  # type: ignore[method-assign, assignment]  # it is generic


def pytest_sessionfinish() -> None:
    """Look through the logs of the session's servers."""
    for log in _LOGS.rglob("*.log"):
        check_output(log.read_text(errors="replace"))


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
