"""What can be wrong with the lines of a container, said before any part is made."""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from graphlib import CycleError, TopologicalSorter
from typing import Any, cast, get_args, get_origin

from aioinject import Object, Singleton

from kiqstart import WiringError, source_file

Line = Singleton[Any] | Object[Any]


def interface_of(line: Line) -> object:
    """What a line is asked for by."""
    if line.interface is not None or inspect.isclass(line.implementation):
        return line.interface or line.implementation
    return _signature(line).return_annotation


def check_lines(lines: Sequence[Line], file: str) -> None:
    """Check that each part stands there once and that all it depends on does too.

    Args:
        lines: of a container.
        file: where they stand.

    Raises:
        WiringError: naming the part, its file and the line to add or to remove.
    """
    known: dict[object, list[Line]] = {}
    for line in lines:
        same = known.setdefault(interface_of(line), [])
        if any(other.implementation == line.implementation for other in same):
            raise WiringError(f"{file}: {_name(line.implementation)} stands there twice: remove one of the lines")
        same.append(line)
    needs = {line: _needs(line) for line in lines}
    for line, wanted in needs.items():
        for part in wanted:
            if part not in known:
                raise WiringError(
                    f"{source_file(line.implementation)}: {_name(line.implementation)} depends on {_name(part)}, "
                    f"which has no line in {file}: add Singleton({_name(part)})"
                )
    try:
        TopologicalSorter(
            {interface: [part for line in same for part in needs[line]] for interface, same in known.items()}
        ).prepare()
    except CycleError as error:
        circle = " → ".join(_name(part) for part in cast("list[object]", error.args[1]))
        raise WiringError(f"{file}: these parts depend on each other in a circle: {circle}") from None


def _needs(line: Line) -> list[object]:
    if isinstance(line, Object) or isinstance(line.implementation, partial):
        return []
    parameters = _signature(line).parameters.values()
    return [_item(one.annotation) for one in parameters if one.default is one.empty]


def _signature(line: Line) -> inspect.Signature:
    implementation = cast("Callable[..., object]", line.implementation)
    try:
        return inspect.signature(implementation, eval_str=True)
    except NameError as error:
        raise WiringError(
            f"{source_file(implementation)}: {_name(implementation)} depends on {error.name}, which is not known: "
            "import it at run time, not only `if TYPE_CHECKING`"
        ) from None


def _item(annotation: object) -> object:
    """Of a list of parts, the type of each."""
    return get_args(annotation)[0] if get_origin(annotation) is list else annotation


def _name(part: object) -> str:
    return getattr(part, "__name__", None) or repr(part)
