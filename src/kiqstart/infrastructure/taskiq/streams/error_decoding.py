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
    MAX_ERRORS,
    MAX_NAME,
    NO_TEXT,
    ORIGIN,
    bases_of,
    encode_error,
    full_name_of,
    has_long_chain,
    is_attribute,
    is_builtin,
    namespace_of,
    own,
    slots_of,
    text_of,
)
from kiqstart.infrastructure.taskiq.streams.error_soundness import SOUND_PARTS, has_sound_text, is_sound, is_sound_class
from kiqstart.infrastructure.taskiq.streams.plain_values import class_name, clip, members_of

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


def tamed(error: BaseException) -> BaseException:
    """The error itself; or, if one in its chain says odd things of itself, a sound one in the place of each such.

    Whoever logs or stores an error, or tells its kind, runs code of its class, which may raise anything or give what is
    of no use. The one in its place is an instance of the same class if Python allows that, and keeps its traceback.
    """
    waiting, seen = [error], {id(error)}
    if not _is_wholly_sound(error):
        error = _made_sound(error)
        waiting = []
    while waiting and len(seen) < MAX_ERRORS:
        one = waiting.pop()
        for name in ("__cause__", "__context__"):
            linked = own(one, name)
            if linked is None or id(linked) in seen:
                continue
            seen.add(id(linked))
            if _is_wholly_sound(linked):
                waiting.append(linked)
                continue
            is_suppressed = own(one, "__suppress_context__")
            _set(one, name, _made_sound(linked))
            _set(one, "__suppress_context__", is_suppressed)
    return error


def _is_wholly_sound(error: BaseException) -> bool:
    waiting, count = [error], 0
    while waiting and count < MAX_ERRORS:
        count += 1
        one = waiting.pop()
        if not (is_sound(one) and has_sound_text(one)):
            return False
        waiting.extend(members_of(one))
    return True


def _made_sound(error: BaseException) -> BaseException:
    encoded = encode_error(error)
    made = _of_its_class(error, encoded)
    if made is None:
        made = decode_error(encoded)
    _set(made, "__traceback__", own(error, "__traceback__"))
    return made


def _of_its_class(error: BaseException, encoded: Encoded) -> BaseException | None:
    """An instance of an error's class, found without its name, and with all of its attributes."""
    args = tuple(_list(encoded, "args" if "args" in encoded else "exc_message"))
    for cls in () if members_of(error) else _derived_from(type(error)):
        made = _instance(cls, args, [])
        if made is not None:
            attributes = own(error, "__dict__").items()
            own(made, "__dict__").update({name: value for name, value in attributes if is_attribute(name)})
            if _tells(made, _str(encoded, "text"), args) and has_sound_text(made) and is_sound(made):
                _link(made, encoded, _MAX_DEPTH)
                return made
    return None


def _decode(encoded: Encoded, depth: int) -> BaseException:
    error = _rebuild(encoded, depth)
    _link(error, encoded, depth)
    return error


def _link(error: BaseException, encoded: Encoded, depth: int) -> None:
    for name, attribute in (("exc_cause", "__cause__"), ("exc_context", "__context__")):
        for linked in _objects([encoded.get(name)], depth):
            _set(error, attribute, _decode(linked, depth - 1))
    # After the cause, which sets it as well.
    _set(error, "__suppress_context__", encoded.get("exc_suppress_context") is True)
    if notes := [note for note in _list(encoded, "notes") if isinstance(note, str)]:
        own(error, "__dict__")["__notes__"] = notes


def _rebuild(encoded: Encoded, depth: int) -> BaseException:
    args = tuple(_list(encoded, "args" if "args" in encoded else "exc_message"))
    members = [_decode(one, depth - 1) for one in _objects(_list(encoded, "exceptions"), depth)]
    # taskiq writes none; it is then what the class makes of the arguments.
    text = _str(encoded, "text") if "text" in encoded else None
    for cls in _candidates(encoded):
        error = _instance(cls, args, members)
        if error is not None and is_sound(error):
            _restore(error, encoded.get("state"))
            if _tells(error, text, args) and has_sound_text(error):
                return error
    raise AssertionError("an Exception takes any arguments and text")


def _candidates(encoded: Encoded) -> Iterator[ErrorClass]:
    """What the error may be an instance of, the best first; the last one can be whatever the error is."""
    module, name = _str(encoded, "exc_module"), _str(encoded, "exc_type")
    base = _str(encoded, "base")
    known = _imported(module, name)
    if known is not None:
        yield known
        yield from _derived_from(known)
        base = next(one.__name__ for one in bases_of(known) if is_builtin(one))
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
    makers = (namespace_of(base).get("__new__") for base in bases_of(cls))
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
    makers = (next(base for base in bases_of(cls) if name in namespace_of(base)) for name in ("__new__", "__init__"))
    return type(cls) is type and all(is_builtin(maker) for maker in makers)


def _restore(error: BaseException, state: object) -> None:
    if not isinstance(state, dict):
        return
    attributes = {name: value for name, value in cast("dict[str, object]", state).items() if is_attribute(name)}
    for name, member in slots_of(type(error)):
        value = attributes.pop(name, None)
        if isinstance(value, str | int) or (value is not None and not is_builtin(member.__objclass__)):
            member.__set__(error, value)
    own(error, "__dict__").update(attributes)


def _tells(error: BaseException, text: str | None, args: tuple[object, ...]) -> bool:
    """Whether an error's text is the right one, and make it so if that is possible."""
    cls = type(error)
    if namespace_of(cls).get("__str__") is _told_text:
        told = str(args[0]) if len(args) == 1 else str(args or "")
        own(error, "__dict__")[_TEXT] = told if text is None else text
        return True
    shown = text_of(error)
    if shown.startswith(NO_TEXT):
        return False
    if text is None or shown == text:
        return True
    if is_sound_class(cls) and cls.__str__ is BaseException.__str__ and len(args) <= 1:
        _set(error, "args", (text,))
        return True
    return False


def _told_text(error: BaseException) -> str:
    return cast("str", own(error, "__dict__").get(_TEXT, ""))


def _reduce(error: BaseException) -> tuple[Callable[[object], BaseException], tuple[object]]:
    # Nobody can find its class by name.
    return decode_error, (encode_error(error),)


def _derived_from(cls: ErrorClass) -> Iterator[ErrorClass]:
    """Subclasses by the same name, for an error whose class cannot make its text, or says odd things of it.

    There are none where Python allows no subclass, or code of a project would hear of it.
    """
    hears = any("__init_subclass__" in namespace_of(base) for base in bases_of(cls) if base is not object)
    if type(cls) is type and cls.__flags__ & _MAY_HAVE_SUBCLASSES and not hears:
        yield _telling_class(cls)  # type: ignore[arg-type]  # mypy looks for the hash of an instance
        yield _sound_class(cls)  # type: ignore[arg-type]  # as above


@lru_cache(_CLASSES)
def _telling_class(cls: ErrorClass) -> ErrorClass:
    return type(class_name(cls), (cls,), _names_of(cls))


@lru_cache(_CLASSES)
def _sound_class(cls: ErrorClass) -> ErrorClass:
    return type(class_name(cls), (cls,), {**_names_of(cls), **SOUND_PARTS})


def _names_of(cls: ErrorClass) -> dict[str, object]:
    module, name = full_name_of(cls)
    return {"__module__": module, "__qualname__": name, "__str__": _told_text, "__reduce__": _reduce}


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
