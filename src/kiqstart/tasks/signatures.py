"""What a task's callable takes and returns: of functions, methods, decorated ones, partials and callable objects."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Final, cast, get_args, get_origin, get_type_hints

from kiqstart.tasks.call_chain import call_chain, innermost
from kiqstart.tasks.errors import UnsupportedTaskError

_RETURN: Final = "return"


@dataclass(frozen=True, slots=True)
class TaskSignature:
    """A callable's signature as its caller sees it.

    Args:
        signature: with the annotations as they are written.
        hints: the types that they stand for, with their metadata; without those that are not annotated.
        return_type: what awaiting a call gives; None if that is not annotated.
    """

    signature: inspect.Signature
    hints: Mapping[str, Any]
    return_type: Any


def read_signature(function: Callable[..., object]) -> TaskSignature:
    """Read a signature: that of the innermost function, unless a decorator has set `__signature__`.

    Raises:
        UnsupportedTaskError: it cannot be read, or names a type that is not known at run time.
    """
    try:
        signature = inspect.signature(function)
    except NameError as error:
        raise UnsupportedTaskError(_unknown_name("an annotation", error)) from None
    except (TypeError, ValueError) as error:
        raise UnsupportedTaskError(f"its parameters cannot be read: {error}") from None
    namespace = _namespace(function)
    hints = {
        name: _evaluated(f"parameter {name}: its type", parameter.annotation, namespace)
        for name, parameter in signature.parameters.items()
        if parameter.annotation is not parameter.empty
    }
    returned: Any = None
    if signature.return_annotation is not signature.empty:
        returned = _evaluated("its return type", signature.return_annotation, namespace)
    return TaskSignature(signature, hints, _awaited(returned) if _gives_awaitable(function) else returned)


def check_callable(function: object) -> Callable[..., object]:
    """Return a callable that can be a task: async, or plain Python code that returns its result.

    Raises:
        UnsupportedTaskError: it cannot.
    """
    if inspect.iscoroutine(function):
        function.close()
        raise UnsupportedTaskError("it is a coroutine: register the method itself, without calling it")
    if not callable(function):
        raise UnsupportedTaskError(f"{_kind(function)} cannot be called: register a method")
    if any(inspect.isasyncgenfunction(link) or inspect.isgeneratorfunction(link) for link in call_chain(function)):
        raise UnsupportedTaskError("it yields, and a task has one result: return it")
    if not (is_async(function) or isinstance(innermost(function), FunctionType)):
        raise UnsupportedTaskError(f"{_kind(function)} is not a Python function: call it in one of your own")
    return function


def is_async(function: object) -> bool:
    """Whether a call gives what can be awaited; what is not async runs in a thread."""
    return any(inspect.iscoroutinefunction(link) for link in call_chain(function)) or _gives_awaitable(function)


def _gives_awaitable(function: object) -> bool:
    """Whether a function that is not async says that it returns what can be awaited."""
    if any(inspect.iscoroutinefunction(link) for link in call_chain(function)):
        return False
    try:
        annotation = inspect.signature(cast("Callable[..., object]", function), eval_str=True).return_annotation
    except Exception:  # noqa: BLE001  # an annotation that cannot be read says nothing
        return False
    origin = get_origin(annotation) or annotation
    return isinstance(origin, type) and origin is not inspect.Signature.empty and issubclass(origin, Awaitable)


def _awaited(annotation: object) -> object:
    return get_args(annotation)[-1] if get_args(annotation) else Any


def _namespace(function: object) -> dict[str, Any]:
    return getattr(innermost(function), "__globals__", {})


def _evaluated(what: str, annotation: object, namespace: dict[str, Any]) -> Any:  # noqa: ANN401  # a type of any kind
    def holder() -> None: ...

    holder.__annotations__ = {_RETURN: annotation}
    try:
        return get_type_hints(holder, globalns=namespace, include_extras=True)[_RETURN]
    except NameError as error:
        raise UnsupportedTaskError(_unknown_name(f"{what} {annotation!r}", error)) from None
    except Exception as error:  # noqa: BLE001  # an annotation is any expression
        raise UnsupportedTaskError(f"{what} {annotation!r} cannot be read: {error}") from None


def _unknown_name(what: str, error: NameError) -> str:
    return f"{what} names {error.name}, which is not known: import it at run time, not only `if TYPE_CHECKING`"


def _kind(function: object) -> str:
    name = getattr(function, "__qualname__", None)
    return name if callable(function) and isinstance(name, str) else f"a {type(function).__name__}"
