"""Finds the application that a command is about."""

import sys
from contextlib import suppress
from pathlib import Path

from taskiq import AsyncBroker

from kiqstart.app import App
from kiqstart.app_place import AppNotFoundError, needed_app_place
from kiqstart.tasks.registry import BaseTasksRegistry
from kiqstart.trust import UntrustedPathError, check_trusted
from kiqstart.worker.loading import load_place


def find_app(place: str | None = None) -> App:
    """Import the application.

    Args:
        place: `module:name`; None looks into `KIQSTART_APP`, then into the nearest pyproject.toml.

    Raises:
        AppNotFoundError: nothing names one, or what is named is something else.
        LoadError: what is named is not there.
    """
    place = place or needed_app_place()
    _extend_path(Path.cwd())
    found = load_place(place)
    if isinstance(found, App):
        return found
    if isinstance(found, BaseTasksRegistry):
        return App(broker=found.broker, registry=found)
    if isinstance(found, AsyncBroker):
        return App(broker=found)
    raise AppNotFoundError(
        f"{place} is no application, but a {type(found).__name__}: name a kiqstart App, a taskiq broker, or a function "
        "without arguments that returns one"
    )


def _extend_path(folder: Path) -> None:
    """Let the application be imported from a folder, unless another user can put modules there."""
    if str(folder) not in sys.path:
        with suppress(UntrustedPathError):
            check_trusted(folder)
            sys.path.insert(0, str(folder))
