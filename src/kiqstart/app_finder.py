"""Finds the application that a command is about."""

from taskiq import AsyncBroker

from kiqstart.app import App
from kiqstart.app_place import AppNotFoundError, needed_app_place
from kiqstart.tasks.registry import BaseTasksRegistry
from kiqstart.worker.loading import import_from_here, load_place


def find_app(place: str | None = None) -> App:
    """Import the application.

    Args:
        place: `module:name`; None looks into `KIQSTART_APP`, then into the nearest pyproject.toml.

    Raises:
        AppNotFoundError: nothing names one, or what is named is something else.
        LoadError: what is named is not there.
    """
    place = place or needed_app_place()
    import_from_here()
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
