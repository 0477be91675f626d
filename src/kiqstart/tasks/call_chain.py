"""What a callable calls: through methods, partials, decorators and callable objects."""

import functools
from collections.abc import Iterator
from types import FunctionType, MethodType
from typing import Final, cast

# Longer chains of decorators are circles.
_LONGEST: Final = 100


def call_chain(function: object) -> Iterator[object]:
    """A callable, and what it calls, from the outside in."""
    for _ in range(_LONGEST):
        yield function
        if isinstance(function, MethodType):
            function = function.__func__
        elif isinstance(function, functools.partial):
            function = cast("functools.partial[object]", function).func
        elif (wrapped := _wrapped(function)) is not None:
            function = wrapped
        elif not isinstance(function, type) and isinstance(
            method := getattr(type(function), "__call__", None),  # noqa: B004  # what it calls, not whether it can be
            FunctionType,
        ):
            function = method
        else:
            return


def innermost(function: object) -> object:
    """What a callable calls in the end."""
    *_, last = call_chain(function)
    return last


def _wrapped(function: object) -> object:
    try:
        return getattr(function, "__wrapped__", None)
    except Exception:  # noqa: BLE001  # an object may raise anything where it is asked for what it has not
        return None
