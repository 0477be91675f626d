"""Finds the broker, the receiver and the modules that a command line names."""

import inspect
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from taskiq import AsyncBroker, InMemoryBroker
from taskiq.cli.utils import import_tasks
from taskiq.receiver.receiver import Receiver

from kiqstart.errors import OperatorError
from kiqstart.trust import UntrustedPathError, check_importable
from kiqstart.worker.options import WorkerOptions


class LoadError(OperatorError):
    """There is no such broker or receiver."""


def extend_path(options: WorkerOptions) -> None:
    """Let modules be imported from the working directory, and from the folder that the options name."""
    import_from_here()
    if options.app_dir and options.app_dir not in sys.path:
        sys.path.insert(0, options.app_dir)


def import_from_here() -> None:
    """Let modules be imported from the working directory, unless another user can put some there."""
    here = Path.cwd()
    if str(here) not in sys.path and not _untrusted(here):
        sys.path.insert(0, str(here))


def _untrusted(folder: Path) -> str:
    try:
        check_importable(folder)
    except UntrustedPathError as error:
        return str(error)
    return ""


def load_broker(options: WorkerOptions) -> tuple[AsyncBroker, object]:
    """Import the broker with all its tasks, and tell it that it is a worker's; gives what it was found in, too.

    Raises:
        LoadError: it is not there, is something else, or has no queue; or a module named for its tasks is not there.
    """
    found = load_place(options.broker)
    broker = broker_of(found)
    if broker is None:
        raise LoadError(
            f"{options.broker} is no broker, but a {type(found).__name__}: "
            "name an AsyncBroker, an App, or a function without arguments that returns one"
        )
    if isinstance(broker, InMemoryBroker):
        raise LoadError(
            f"{options.broker}: an in-memory broker (as REDIS_URL=memory:// gives one) runs tasks in the program "
            "that sends them, so there is nothing for a worker: set REDIS_URL to a Redis"
        )
    configure_logging: object = getattr(found, "configure_logging", None)
    if callable(configure_logging):
        configure_logging()
    # Before its tasks are imported and a receiver is looked for, as both may depend on it.
    broker.is_worker_process = True
    # taskiq would begin without the tasks of a module that it does not find.
    for module in options.modules:
        _import(module, place=module)
    import_tasks([], options.tasks_pattern or ["**/tasks.py"], options.fs_discover)
    return broker, found


def load_place(place: str) -> object:
    """What a module has under a name, or what a function without arguments of that name returns.

    Raises:
        LoadError: it is not there.
    """
    found = _load(place)
    if not inspect.isfunction(found) or not _takes_nothing(found):
        return found
    made: object = found()
    from kiqstart.broker.broker import StreamBroker

    if isinstance(broker := broker_of(made), StreamBroker):
        broker.made_by = place
    return made


def broker_of(found: object) -> AsyncBroker | None:
    """The broker that something is or, as an application or a registry, has."""
    broker: object = found if isinstance(found, AsyncBroker) else getattr(found, "broker", None)
    return broker if isinstance(broker, AsyncBroker) else None


def make_receiver(options: WorkerOptions, **settings: Any) -> Receiver:  # noqa: ANN401  # taskiq's, handed on
    """Make the receiver that is named, or else the broker's own; call it once the broker is there.

    Raises:
        LoadError: it is not there, is something else, or does not take an argument of the command line.
    """
    receiver, further = _load_receiver(options), dict(options.receiver_arg)
    if known := further.keys() & settings.keys():
        raise LoadError(f"--receiver_arg {min(known)}=…: there is an option of that meaning (--help tells which)")
    if not further:
        return receiver(**settings)
    try:
        return receiver(**settings, **cast("dict[str, Any]", further))
    except (TypeError, ValueError) as error:
        names = ", ".join(f"{name}={value}" for name, value in further.items())
        raise LoadError(f"--receiver_arg {names}: {receiver.__name__} does not take that: {error}") from None


def _load_receiver(options: WorkerOptions) -> type[Receiver]:
    if options.receiver is None:
        return _default_receiver()
    receiver = _load(options.receiver)
    if isinstance(receiver, type) and issubclass(receiver, Receiver):
        return receiver
    raise LoadError(f"{options.receiver} is no receiver: name a class that is derived from taskiq's Receiver")


def _default_receiver() -> type[Receiver]:
    # A broker may have put its own in this place, which is where `taskiq worker` looks for it.
    import taskiq.receiver

    return taskiq.receiver.Receiver


def _load(place: str) -> object:
    module_name, separator, name = place.partition(":")
    if not separator or not module_name or not name:
        raise LoadError(f"{place!r} names nothing to import: write module:name")
    module = _import(module_name, place=place)
    if not hasattr(module, name):
        raise LoadError(f"{place}: {module_name} has no {name!r} ({getattr(module, '__file__', module_name)})")
    found: object = getattr(module, name)
    return found


def _import(module_name: str, *, place: str) -> ModuleType:
    if not all(module_name.split(".")):
        raise LoadError(f"{place!r} names no module: write its whole name, such as package.module")
    try:
        return import_module(module_name)
    except ModuleNotFoundError as error:
        # An import that fails within the module is not the command line's fault, and keeps its traceback.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        here = Path.cwd()
        problem = _untrusted(here)
        raise LoadError(
            f"{place}: there is no module {error.name!r} in {here} or among what is installed"
            f"{f' ({problem})' if problem else ''}"
        ) from None


def _takes_nothing(function: Callable[..., object]) -> bool:
    return all(
        parameter.default is not parameter.empty or parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
        for parameter in inspect.signature(function).parameters.values()
    )
