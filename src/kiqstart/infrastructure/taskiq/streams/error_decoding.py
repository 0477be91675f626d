"""Makes an error of what `error_encoding` or taskiq has written.

What is read may be anybody's: nothing is imported, and no constructor and no `__new__` of a project's class is called.
Only classes of errors that this process has imported get an instance. Any other error, and one that Python makes only
with its constructor, is a stand-in: of a class by the same name that derives from the nearest builtin error.
"""

import builtins
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from types import BuiltinFunctionType, ModuleType
from typing import Final, TypeGuard, cast

from kiqstart.infrastructure.taskiq.streams.error_encoding import (
    BUILTIN_ATTRIBUTES,
    MAX_NAME,
    NO_TEXT,
    ORIGIN,
    encode_error,
    has_long_chain,
    is_attribute,
    is_builtin,
    own,
    slots_of,
    text_of,
)
from kiqstart.infrastructure.taskiq.streams.plain_values import clip

_MAX_DEPTH: Final = 100
# taskiq doubles its work with each link.
_SHORT_CHAIN: Final = 4
_CLASSES: Final = 256
_MAY_HAVE_SUBCLASSES: Final = 1 << 10  # Py_TPFLAGS_BASETYPE
# Where an error whose class cannot say its text has it.
_TEXT: Final = "__kiqstart_text__"

ErrorClass = type[BaseException]
Encoded = Mapping[str, object]


def decode_error(encoded: object) -> BaseException:
    """The error that was encoded, as its own class or a stand-in for it.

    Args:
        encoded: plain values; fields that are missing or of another type are passed over.

    Raises:
        ValueError: it is no JSON object.
    """
    if not isinstance(encoded, dict):
        raise ValueError(f"its error is a {type(encoded).__name__} and no JSON object")  # noqa: TRY004  # what is read is wrong, not who asks
    return _decode(cast("Encoded", encoded), _MAX_DEPTH)


def with_short_chain(error: BaseException) -> BaseException:
    """The error itself; or, if its chain is long, one that is made anew with the first links of it."""
    if not has_long_chain(error, max_depth=_SHORT_CHAIN):
        return error
    return decode_error(encode_error(error, max_depth=_SHORT_CHAIN))


def _decode(encoded: Encoded, depth: int) -> BaseException:
    error = _rebuild(encoded, depth)
    for name, attribute in (("exc_cause", "__cause__"), ("exc_context", "__context__")):
        for linked in _objects([encoded.get(name)], depth):
            _set(error, attribute, _decode(linked, depth - 1))
    # After the cause, which sets it as well.
    _set(error, "__suppress_context__", encoded.get("exc_suppress_context") is True)
    if notes := [note for note in _list(encoded, "notes") if isinstance(note, str)]:
        own(error, "__dict__")["__notes__"] = notes
    return error


def _rebuild(encoded: Encoded, depth: int) -> BaseException:
    args = tuple(_list(encoded, "args" if "args" in encoded else "exc_message"))
    members = [_decode(one, depth - 1) for one in _objects(_list(encoded, "exceptions"), depth)]
    # taskiq writes none; it is then what the class makes of the arguments.
    text = _str(encoded, "text") if "text" in encoded else None
    for cls in _candidates(encoded):
        error = _instance(cls, args, members)
        if error is not None:
            _restore(error, encoded.get("state"))
            if _tells(error, text, args):
                return error
    raise AssertionError("an Exception takes any arguments and text")


def _candidates(encoded: Encoded) -> Iterator[ErrorClass]:
    """What the error may be an instance of, the best first; the last one can be whatever the error is."""
    module, name = _str(encoded, "exc_module"), _str(encoded, "exc_type")
    base = _str(encoded, "base")
    known = _imported(module, name)
    if known is not None:
        yield known
        if _may_be_derived_from(known):
            yield _telling_class(known)  # type: ignore[arg-type]  # mypy looks for the hash of an instance
        base = next(one.__name__ for one in known.__mro__ if is_builtin(one))
    parent = vars(builtins).get(base)
    if _is_error(parent) and issubclass(parent, Exception):
        yield _stand_in(parent, module, name)  # type: ignore[arg-type]  # as above
    yield _stand_in(Exception, module, name)


def _imported(module: str, name: str) -> ErrorClass | None:
    """The class of that name in a module that is imported. Names are looked up in dictionaries: no code runs."""
    found: object = sys.modules.get(module)
    if not issubclass(type(found), ModuleType):
        return None
    namespace = cast("Mapping[str, object]", object.__getattribute__(found, "__dict__"))
    for part in name.split("."):
        found = namespace.get(part)
        if not issubclass(type(found), type):
            return None
        namespace = cast("Mapping[str, object]", type.__getattribute__(cast("type", found), "__dict__"))
    return found if _is_error(found) else None


def _is_error(cls: object) -> TypeGuard[ErrorClass]:
    return issubclass(type(cls), type) and BaseException in type.__getattribute__(cast("type", cls), "__mro__")


def _instance(cls: ErrorClass, args: tuple[object, ...], members: list[BaseException]) -> BaseException | None:
    """An instance that no code of a project has made; None if Python has no way to that."""
    makers = (vars(base).get("__new__") for base in cls.__mro__)
    # One that is written in Python is a staticmethod here.
    new = next(maker for maker in makers if isinstance(maker, BuiltinFunctionType))
    try:
        if issubclass(cls, BaseExceptionGroup):
            return cast("BaseException", new(cls, str(args[0]) if args else "", members))
        if _is_made_by_python(cls):
            try:
                return cls(*args)
            except Exception:  # noqa: BLE001, S110  # arguments that it cannot have; it may still have the text
                pass
        error = cast("BaseException", new(cls))
    except (TypeError, ValueError):
        return None
    _set(error, "args", args)
    return error


def _is_made_by_python(cls: ErrorClass) -> bool:
    """Whether making an instance runs no code but that of builtin classes."""
    makers = (next(base for base in cls.__mro__ if name in vars(base)) for name in ("__new__", "__init__"))
    return type(cls) is type and all(is_builtin(maker) for maker in makers)


def _restore(error: BaseException, state: object) -> None:
    if not isinstance(state, dict):
        return
    attributes = {name: value for name, value in cast("dict[str, object]", state).items() if is_attribute(name)}
    for name, member in slots_of(type(error)):
        value = attributes.pop(name, None)
        if isinstance(value, str | int) or (value is not None and member.__objclass__ not in BUILTIN_ATTRIBUTES):
            member.__set__(error, value)
    own(error, "__dict__").update(attributes)


def _tells(error: BaseException, text: str | None, args: tuple[object, ...]) -> bool:
    """Whether an error's text is the right one, and make it so if that is possible."""
    cls = type(error)
    if vars(cls).get("__str__") is _told_text:
        told = str(args[0]) if len(args) == 1 else str(args or "")
        own(error, "__dict__")[_TEXT] = told if text is None else text
        return True
    shown = text_of(error)
    if shown.startswith(NO_TEXT):
        return False
    if text is None or shown == text:
        return True
    if cls.__str__ is BaseException.__str__ and len(args) <= 1:
        _set(error, "args", (text,))
        return True
    return False


def _told_text(error: BaseException) -> str:
    return cast("str", own(error, "__dict__").get(_TEXT, ""))


def _reduce(error: BaseException) -> tuple[Callable[[object], BaseException], tuple[object]]:
    # Nobody can find its class by name.
    return decode_error, (encode_error(error),)


def _may_be_derived_from(cls: ErrorClass) -> bool:
    """Whether Python allows a subclass, and no code of a project hears of it."""
    hears = any("__init_subclass__" in vars(base) for base in cls.__mro__ if base is not object)
    return type(cls) is type and bool(cls.__flags__ & _MAY_HAVE_SUBCLASSES) and not hears


@lru_cache(_CLASSES)
def _telling_class(cls: ErrorClass) -> ErrorClass:
    """A subclass by the same name, for an error whose text its class cannot make of what was carried along."""
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__str__": _told_text}
    return type(cls.__name__, (cls,), {**names, "__reduce__": _reduce})


@lru_cache(_CLASSES)
def _stand_in(parent: ErrorClass, module: str, name: str) -> ErrorClass:
    last = name.rpartition(".")[2]
    module, name = clip(module, MAX_NAME), clip(name, MAX_NAME)
    # Not the module that is named: whoever pickles the error would import it.
    names = {
        "__module__": __name__,
        "__doc__": f"Stands for {module}.{name}, of which this process can have no instance.",
        "__str__": _told_text,
        "__reduce__": _reduce,
        ORIGIN: (module, name),
    }
    return type(last if last.isidentifier() and len(last) <= MAX_NAME else "UnknownError", (parent,), names)


def _set(error: BaseException, name: str, value: object) -> None:
    vars(BaseException)[name].__set__(error, value)


def _str(encoded: Encoded, name: str) -> str:
    value = encoded.get(name)
    return value if isinstance(value, str) else ""


def _list(encoded: Encoded, name: str) -> list[object]:
    value = encoded.get(name)
    return cast("list[object]", value) if isinstance(value, list) else []


def _objects(values: list[object], depth: int) -> list[Encoded]:
    return [cast("Encoded", value) for value in values if isinstance(value, dict) and depth > 0]
