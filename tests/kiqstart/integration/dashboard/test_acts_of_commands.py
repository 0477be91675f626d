"""Whatever a command does can be done on a page: docs/dashboard.md has the table, which is held to both."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

import typer.main
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from starlette.applications import Starlette
from starlette.routing import Route
from tests.kiqstart.integration.dashboard.browser import settings

from kiqstart.app import App
from kiqstart.broker.broker import StreamBroker
from kiqstart.cli.app import app as command_line
from kiqstart.dashboard import create_dashboard
from kiqstart.dashboard.headers import SecurityHeaders
from kiqstart.retention import RetentionEngine, RetentionPolicies

_DOCS: Final = Path(__file__).parents[4] / "docs" / "dashboard.md"
# Who comes and goes changes nothing.
_NO_ACTS: Final = {"/login", "/logout"}


def acts_of_commands() -> set[str]:
    """The commands that take a reason for the log of acts."""
    return {
        " ".join(("kiqstart", *words))
        for words, command in _commands(typer.main.get_command(command_line), ())
        if any("--because" in one.opts for one in command.params)
    }


def _commands(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:  # noqa: ANN401  # of typer's own copy of click
    for name, one in getattr(command, "commands", {}).items():
        yield (*words, name), one
        yield from _commands(one, (*words, name))


def test_every_act_of_a_command_is_on_a_page_and_every_page_is_in_the_docs(
    broker: StreamBroker, session_factory: async_sessionmaker[AsyncSession]
) -> None:
    rows = dict(re.findall(r"^\| `(kiqstart [\w ]+)` \| (`/.*) \|$", _DOCS.read_text(), re.MULTILINE))
    assert set(rows) == acts_of_commands()
    documented = {path for cell in rows.values() for path in re.findall(r"`(/[\w/-]+)`", cell)}
    app = App(broker=broker, retention=RetentionPolicies(RetentionEngine(session_factory), list))
    dashboard = cast("Starlette", cast("SecurityHeaders", create_dashboard(app, settings())).app)
    acting = {one.path for one in dashboard.routes if isinstance(one, Route) and "POST" in (one.methods or ())}
    assert documented == acting - _NO_ACTS
