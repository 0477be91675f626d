"""Whether an error can be asked for its parts.

A class of errors may have its own word for anything: `__class__`, `__traceback__`, `args`, `__str__`. Whoever logs an
error or tells its kind then runs that code, which may raise whatever it likes, or give what nobody can use.
"""

from types import TracebackType
from typing import Any, Final

from kiqstart.tasks.results.error_encoding import bases_of, is_builtin, namespace_of, own

_RAW: Final = ("__cause__", "__context__", "__dict__", "__suppress_context__", "__traceback__", "args")
_LOOKED_UP: Final = ("__class__", "__getattribute__", "__getattr__", "__notes__", "with_traceback", *_RAW)
_TEXTS: Final = ("__bool__", "__len__", "__repr__", "__str__")
_OWN_WORDS: Final = frozenset((*_LOOKED_UP, *_TEXTS))
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "__cause__": (BaseException, type(None)),
    "__context__": (BaseException, type(None)),
    "__dict__": (dict,),
    "__notes__": (list, type(None)),
    "__suppress_context__": (bool,),
    "__traceback__": (TracebackType, type(None)),
    "args": (tuple,),
}


def _no_such_attribute(error: BaseException, name: str) -> Any:  # noqa: ANN401  # it has none
    raise AttributeError(f"{type(error).__name__!r} object has no attribute {name!r}", name=name, obj=error)


def _is_there(_: BaseException) -> bool:
    return True


# What a class has of Python itself that says nothing odd.
SOUND_PARTS: Final[dict[str, object]] = {
    **{name: BaseException.__dict__[name] for name in (*_RAW, "with_traceback", "__repr__")},
    **{name: object.__dict__[name] for name in ("__class__", "__getattribute__", "__reduce_ex__")},
    **{name: object.__dict__[name] for name in ("__delattr__", "__setattr__")},
    "__bool__": _is_there,
    "__getattr__": _no_such_attribute,
    "__notes__": None,
}


def is_sound_class(cls: type) -> bool:
    """Whether a class itself can be asked for its names and bases."""
    if type(cls) is type:
        return True
    try:
        hash(cls)
        names = (cls.__name__, cls.__qualname__, cls.__module__)
        return cls == cls and cls.__mro__ is bases_of(cls) and all(type(name) is str for name in names)  # noqa: PLR0124  # its own
    except BaseException:  # noqa: BLE001  # code of a project's own, whatever it raises
        return False


def is_sound(error: BaseException) -> bool:
    """Whether the parts of an error that Python gives to each are there, and of their types."""
    cls = type(error)
    if not is_sound_class(cls):
        return False
    if not _own_words(cls):
        return True
    try:
        return error.__class__ is cls and all(_is_of_its_type(error, name, kinds) for name, kinds in _TYPES.items())
    except BaseException:  # noqa: BLE001  # code of a project's own, whatever it raises
        return False


def has_sound_text(error: BaseException) -> bool:
    """Whether an error says what it is, and that it is, without raising another one."""
    if not _own_words(type(error)) & set(_TEXTS):
        return True
    try:
        for ask in (str, repr, bool):
            ask(error)
    except BaseException:  # noqa: BLE001  # as above
        return False
    return True


def _own_words(cls: type) -> frozenset[str]:
    """Which of them a class has its own code for."""
    return _OWN_WORDS & {name for base in bases_of(cls) if not is_builtin(base) for name in namespace_of(base)}


def _is_of_its_type(error: BaseException, name: str, kinds: tuple[type, ...]) -> bool:
    value: object = getattr(error, name, None)
    return issubclass(type(value), kinds) and (name == "args" or name not in _RAW or value is own(error, name))
