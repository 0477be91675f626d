"""Classes and instances of errors, made so that no code of a project runs."""

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from types import BuiltinFunctionType, ModuleType
from typing import Final, TypeGuard, cast

from kiqstart.tasks.results.error_encoding import (
    MAX_NAME,
    NO_TEXT,
    ORIGIN,
    bases_of,
    encode_error,
    full_name_of,
    is_builtin,
    namespace_of,
    own,
    text_of,
)
from kiqstart.tasks.results.error_soundness import SOUND_PARTS, is_sound_class
from kiqstart.tasks.results.plain_values import class_name, clip

_CLASSES: Final = 256
_MAY_HAVE_SUBCLASSES: Final = 1 << 10  # Py_TPFLAGS_BASETYPE
# Where an error whose class cannot say its text has it.
_TEXT: Final = "__kiqstart_text__"

ErrorClass = type[BaseException]


def imported(module: str, name: str) -> ErrorClass | None:
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
    return found if is_error(found) else None


def is_error(cls: object) -> TypeGuard[ErrorClass]:
    """Whether it is a class of errors."""
    return issubclass(type(cls), type) and BaseException in type.__getattribute__(cast("type", cls), "__mro__")


def instance(cls: ErrorClass, args: tuple[object, ...], members: list[BaseException]) -> BaseException | None:
    """An instance that no code of a project has made; None if Python has no way to that."""
    makers = (namespace_of(base).get("__new__") for base in bases_of(cls))
    # One that is written in Python is a staticmethod here.
    new = next(maker for maker in makers if isinstance(maker, BuiltinFunctionType))
    try:
        if issubclass(cls, BaseExceptionGroup):
            group = cast("BaseException", new(cls, str(args[0]) if args else "", members))
            # Of stand-ins, which are of the kind `Exception`, Python makes an `ExceptionGroup`.
            return group if cast("object", type(group)) is cls else None
        if _is_made_by_python(cls):
            try:
                return cls(*args)
            except Exception:  # noqa: BLE001, S110  # arguments that it cannot have; it may still have the text
                pass
        error = cast("BaseException", new(cls))
    except (TypeError, ValueError):
        return None
    set_part(error, "args", args)
    return error


def _is_made_by_python(cls: ErrorClass) -> bool:
    """Whether making an instance runs no code but that of builtin classes."""
    makers = (next(base for base in bases_of(cls) if name in namespace_of(base)) for name in ("__new__", "__init__"))
    return type(cls) is type and all(is_builtin(maker) for maker in makers)


def tells(error: BaseException, text: str | None, args: tuple[object, ...]) -> bool:
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
        set_part(error, "args", (text,))
        return True
    return False


def _told_text(error: BaseException) -> str:
    return cast("str", own(error, "__dict__").get(_TEXT, ""))


def _reduce(error: BaseException) -> tuple[Callable[[object], BaseException], tuple[object]]:
    # Nobody can find its class by name.
    from kiqstart.tasks.results.error_decoding import decode_error

    return decode_error, (encode_error(error),)


def derived_from(cls: ErrorClass) -> Iterator[ErrorClass]:
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
def stand_in(parent: ErrorClass, module: str, name: str) -> ErrorClass:
    """A class by the name of one that this process does not have, or can have no instance of."""
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


def set_part(error: BaseException, name: str, value: object) -> None:
    """Set what Python gives to each error, whatever its class makes of that."""
    vars(BaseException)[name].__set__(error, value)
