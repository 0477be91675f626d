"""Names that a shell completes: those that the application's code has, so that no server is asked."""

import io
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from kiqstart.app import App


def task_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Tasks."""
    return _completed(ctx, incomplete, lambda app: app.broker.get_all_tasks())


def queue_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Queues that the application's worker takes, or its tasks are sent to."""
    return _completed(ctx, incomplete, _queues)


def paused_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Queues, or tasks, as the word before says."""
    return (task_names if str(ctx.params.get("kind")) == "task" else queue_names)(ctx, incomplete)


def schedule_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Schedules of the table."""
    return _completed(ctx, incomplete, lambda app: [one.name for one in app.schedules])


def policy_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Retention policies."""
    return _completed(ctx, incomplete, lambda app: [one.name for one in app.needs_retention().all()])


def _completed(ctx: typer.Context, incomplete: str, names: "Callable[[App], Iterable[str]]") -> list[str]:
    from kiqstart.cli.application import choose_application, unconnected_application

    chosen = ctx.find_root().params.get("app_place")
    try:
        # What an application prints while it is imported is no name.
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            choose_application(chosen if isinstance(chosen, str) else None)
            found = sorted(set(names(unconnected_application())))
    except (Exception, SystemExit):  # noqa: BLE001  # whatever is wrong with it, a shell is not told while somebody types
        return []
    return [name for name in found if name.startswith(incomplete)]


def _queues(app: "App") -> Sequence[str]:
    from kiqstart.broker.broker import StreamBroker
    from kiqstart.broker.known_queues import queue_of_task

    own = app.broker.queues if isinstance(app.broker, StreamBroker) else ()
    return [*own, *(queue_of_task(task) for task in app.broker.get_all_tasks().values())]
