"""Parameters that the worker fills in, apart from those that a caller passes."""

import inspect
from typing import Annotated, get_args, get_origin

from taskiq_dependencies.dependency import Dependency

from kiqstart.tasks.errors import UnsupportedTaskError
from kiqstart.tasks.signatures import TaskSignature


class Injection:
    """Which parameters of a task have `TaskiqDepends`; they are passed by name.

    Args:
        read: the task's signature.
    """

    def __init__(self, read: TaskSignature) -> None:
        parameters = read.signature.parameters
        self._read = read
        self.filled = {name: one for name, one in parameters.items() if _is_injected(one, read.hints.get(name))}
        self.passed = {name: one for name, one in parameters.items() if name not in self.filled}
        self.hints = {name: hint for name, hint in read.hints.items() if name in self.filled}
        # What the worker fills in may stand before what a caller passes by position.
        self.moves_positions = bool(self._moved())

    def check(self) -> None:
        """Check that what is filled in can be passed by name.

        Raises:
            UnsupportedTaskError: one cannot.
        """
        for name, one in self.filled.items():
            if one.kind is one.POSITIONAL_ONLY:
                raise UnsupportedTaskError(f"parameter {name}: what the worker fills in is passed by its name")
        for one in self._moved():
            if one.kind is one.VAR_POSITIONAL:
                raise UnsupportedTaskError(f"parameter *{one.name}: what the worker fills in has to stand after it")

    def split(self, kwargs: dict[str, object]) -> dict[str, object]:
        """Take what the worker has filled in out of the named arguments, and return it."""
        return {name: kwargs.pop(name) for name in self.filled if name in kwargs}

    def by_name(self, bound: inspect.BoundArguments) -> tuple[tuple[object, ...], dict[str, object]]:
        """A call's arguments, by name where they have one."""
        args: list[object] = []
        kwargs: dict[str, object] = {}
        for name, value in bound.arguments.items():
            kind = self.passed[name].kind
            if kind is inspect.Parameter.POSITIONAL_ONLY:
                args.append(value)
            elif kind is inspect.Parameter.VAR_KEYWORD:
                kwargs |= value
            else:
                kwargs[name] = value
        return tuple(args), kwargs

    def signature(self) -> inspect.Signature:
        """The caller's parameters, and then what is filled in as named ones; with types instead of their names."""
        hints = self._read.hints
        typed = [one.replace(annotation=hints.get(one.name, one.empty)) for one in self.passed.values()]
        filled = [
            one.replace(annotation=hints.get(one.name, one.empty), kind=one.KEYWORD_ONLY)
            for one in self.filled.values()
        ]
        rest = [typed.pop()] if typed and typed[-1].kind is inspect.Parameter.VAR_KEYWORD else []
        return inspect.Signature([*typed, *filled, *rest])

    def _moved(self) -> list[inspect.Parameter]:
        """Parameters of the caller that take positions, after one that is filled in."""
        moved: list[inspect.Parameter] = []
        is_after = False
        for name, one in self._read.signature.parameters.items():
            if name in self.filled:
                is_after = is_after or one.kind is one.POSITIONAL_OR_KEYWORD
            elif is_after and one.kind in (one.POSITIONAL_OR_KEYWORD, one.VAR_POSITIONAL):
                moved.append(one)
        return moved


def _is_injected(parameter: inspect.Parameter, hint: object) -> bool:
    metadata = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return any(isinstance(item, Dependency) for item in (parameter.default, *metadata))
