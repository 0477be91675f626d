"""Turning a message's arguments into the types that a task's function has for them, as taskiq does it."""

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from logging import DEBUG, getLogger
from typing import Any

from taskiq import TaskiqMessage
from taskiq.compat import create_type_adapter
from taskiq.receiver.params_parser import parse_params

# Where taskiq says what it parses.
_taskiq_logger = getLogger(parse_params.__module__)


@dataclass(frozen=True, slots=True)
class _Typed:
    """An argument with a type.

    Args:
        name: where it may stand by name.
        place: where it may stand by place.
        validate: makes a value of its type.
    """

    name: str
    place: int
    validate: Callable[[object], object]


class ArgumentParser:
    """Does what taskiq's `parse_params` does, and leaves to that whatever is not as the function has it.

    Args:
        signature: the function's.
        hints: the types of its arguments.
    """

    def __init__(self, signature: inspect.Signature, hints: Mapping[str, Any]) -> None:
        self._signature = signature
        self._hints = hints
        # Made when it is needed first, as pydantic takes its time for a model; empty where taskiq has to do it.
        self._typed: Sequence[_Typed] | None = None

    def parse(self, message: TaskiqMessage) -> None:
        """Turn arguments into their types; those that cannot be, stay as they are, with a warning in the log."""
        if _taskiq_logger.isEnabledFor(DEBUG) or not self._parse_all(message):
            parse_params(self._signature, dict(self._hints), message)

    def _parse_all(self, message: TaskiqMessage) -> bool:
        """Turn all of them into their types, or none."""
        args, kwargs = message.args, message.kwargs
        by_place: list[object] = args.copy()
        by_name: dict[str, object] = {}
        try:
            if self._typed is None:
                self._typed = _typed(self._signature, self._hints)
            if not self._typed:
                return False
            for one in self._typed:
                if one.place < len(args):
                    if args[one.place] is not None:
                        by_place[one.place] = one.validate(args[one.place])
                elif (value := kwargs.get(one.name)) is not None:
                    by_name[one.name] = one.validate(value)
        except Exception:  # noqa: BLE001  # whatever a type's own code raises: taskiq tells of it, argument by argument
            return False
        args[:] = by_place
        kwargs.update(by_name)
        return True


def _typed(signature: inspect.Signature, hints: Mapping[str, Any]) -> Sequence[_Typed]:
    """The arguments that have a type; none where there may be any number of them."""
    found: list[_Typed] = []
    for number, (name, parameter) in enumerate(signature.parameters.items()):
        hint = hints.get(name)
        if hint is None or parameter.kind is parameter.VAR_KEYWORD:
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            return []
        place = sys.maxsize if parameter.kind is parameter.KEYWORD_ONLY else number
        found.append(_Typed(name, place, create_type_adapter(hint).validator.validate_python))
    return found
