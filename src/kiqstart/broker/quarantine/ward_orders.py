"""What a worker tells the process that runs its suspects: which broker that has to load, and how tasks are run."""

import inspect
import json
import logging
import multiprocessing
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from kiqstart.broker.broker import StreamBroker

# Holds whatever broker was made last, in an attribute of its own.
_NOT_A_PLACE: Final = "taskiq"


@dataclass(frozen=True, kw_only=True)
class WardOrders:
    """All that a ward is told; it travels as one line of JSON.

    Args:
        place: where the broker is: `module:name`, `module:name.attribute`, or the function that makes it.
        queue: the queue's name, by which the ward sees that it is the same broker.
        path: where modules are imported from.
        modules: those whose functions are tasks, in the order in which they were imported.
        tasks: the names of all tasks. A ward that does not know them all does not start: it would make dead letters of
            those that it misses.
        receiver: arguments of the receiver.
        name: what the ward's log lines call it.
        log_level: of the root's logger.
        log_format: as Python's logging has it; None where nothing formats here.
    """

    place: str
    queue: str
    path: list[str]
    modules: list[str]
    tasks: list[str]
    receiver: Mapping[str, Any]
    name: str
    log_level: int
    log_format: str | None

    def line(self) -> bytes:
        """Write them."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> "WardOrders":
        """Read them.

        Raises:
            ValueError: the line is cut short.
        """
        return cls(**json.loads(line))


def orders_for(broker: "StreamBroker") -> WardOrders | None:
    """What another process needs to run this broker's tasks; None where no module holds the broker, or makes it."""
    place = find_place(broker) or broker.made_by or _named_to_taskiq()
    if place is None:
        return None
    root = logging.getLogger()
    formatter = root.handlers[0].formatter if root.handlers else None
    return WardOrders(
        place=place,
        queue=broker.keys.name,
        path=list(sys.path),
        modules=_modules_of_tasks(broker),
        tasks=sorted(broker.get_all_tasks()),
        receiver=dict(broker.receiver_options),
        name=f"{multiprocessing.current_process().name}-quarantine",
        log_level=root.level,
        log_format=formatter._fmt if formatter is not None else None,  # noqa: SLF001  # there is no other way to it
    )


def find_place(broker: object) -> str | None:
    """Where a broker can be imported from, `module:name` or `module:name.attribute`; None for nowhere.

    Of several modules the one counts whose import began first: it is the one that the worker was started with, and
    imports the others as it did here.
    """
    for module, namespace in _namespaces():
        for name, value in namespace.items():
            if value is broker:
                return f"{module}:{name}"
    for module, namespace in _namespaces():
        for name, value in namespace.items():
            attributes = {} if isinstance(value, ModuleType) else getattr(value, "__dict__", {})
            for attribute, inner in [*attributes.items()]:
                if inner is broker:
                    return f"{module}:{name}.{attribute}"
    return None


def _named_to_taskiq() -> str | None:
    """The function that the command line of `taskiq worker` names; its process manager hands that line on."""
    arguments = vars(multiprocessing.current_process()).get("_kwargs", {}).get("args")
    place = getattr(arguments, "broker", None)
    if not isinstance(place, str):
        return None
    module, _, name = place.partition(":")
    return place if inspect.isfunction(getattr(sys.modules.get(module), name, None)) else None


def _namespaces() -> Iterator[tuple[str, dict[str, object]]]:
    """Modules that can be imported, by their names, in the order in which their imports began."""
    for name, module in [*sys.modules.items()]:
        importable = _importable(name, module)
        if importable is not None and name.partition(".")[0] != _NOT_A_PLACE:
            yield importable, dict(vars(module))


def _importable(name: str, module: object) -> str | None:
    if not isinstance(module, ModuleType):
        return None
    if name not in {"__main__", "__mp_main__"}:
        return name
    spec = module.__spec__
    return spec.name if name == "__main__" and spec is not None else None


def _modules_of_tasks(broker: "StreamBroker") -> list[str]:
    wanted = {getattr(task.original_func, "__module__", None) for task in broker.get_all_tasks().values()}
    names = [_importable(name, module) for name, module in [*sys.modules.items()] if name in wanted]
    return [name for name in names if name is not None]
