"""Makes an error of what `error_encoding` or taskiq has written.

What is read may be anybody's: nothing is imported, and no constructor and no `__new__` of a project's class is called.
Only classes of errors that this process has imported get an instance. Any other error, and one that Python makes only
with its constructor, is a stand-in: of a class by the same name that derives from the nearest builtin error.
"""

import builtins
from collections.abc import Iterator, Mapping
from typing import Final, cast

from kiqstart.tasks.results.error_classes import (
    ErrorClass,
    derived_from,
    imported,
    instance,
    is_error,
    set_part,
    stand_in,
    tells,
)
from kiqstart.tasks.results.error_encoding import (
    bases_of,
    encode_error,
    has_long_chain,
    is_attribute,
    is_builtin,
    own,
    slots_of,
)
from kiqstart.tasks.results.error_soundness import has_sound_text, is_sound

_MAX_DEPTH: Final = 100
# taskiq doubles its work with each link.
_SHORT_CHAIN: Final = 4

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
    link(error, encoded, depth)
    return error


def args_of(encoded: Encoded) -> tuple[object, ...]:
    """The arguments of an error that was encoded."""
    return tuple(_list(encoded, "args" if "args" in encoded else "exc_message"))


def link(error: BaseException, encoded: Encoded, depth: int = _MAX_DEPTH) -> None:
    """Give an error the chain and the notes of the one that was encoded."""
    for name, attribute in (("exc_cause", "__cause__"), ("exc_context", "__context__")):
        for linked in _objects([encoded.get(name)], depth):
            set_part(error, attribute, _decode(linked, depth - 1))
    # After the cause, which sets it as well.
    set_part(error, "__suppress_context__", encoded.get("exc_suppress_context") is True)
    if notes := [note for note in _list(encoded, "notes") if isinstance(note, str)]:
        own(error, "__dict__")["__notes__"] = notes


def _rebuild(encoded: Encoded, depth: int) -> BaseException:
    args = args_of(encoded)
    members = [_decode(one, depth - 1) for one in _objects(_list(encoded, "exceptions"), depth)]
    # taskiq writes none; it is then what the class makes of the arguments.
    text = _str(encoded, "text") if "text" in encoded else None
    for cls in _candidates(encoded):
        error = instance(cls, args, members)
        if error is not None and is_sound(error):
            _restore(error, encoded.get("state"))
            if tells(error, text, args) and has_sound_text(error):
                return error
    raise AssertionError("an Exception takes any arguments and text")


def _candidates(encoded: Encoded) -> Iterator[ErrorClass]:
    """What the error may be an instance of, the best first; the last one can be whatever the error is."""
    module, name = _str(encoded, "exc_module"), _str(encoded, "exc_type")
    base = _str(encoded, "base")
    known = imported(module, name)
    if known is not None:
        yield known
        yield from derived_from(known)
        base = next(one.__name__ for one in bases_of(known) if is_builtin(one))
    parent = vars(builtins).get(base)
    if is_error(parent) and issubclass(parent, Exception):
        yield stand_in(parent, module, name)  # type: ignore[arg-type]  # as above
    yield stand_in(Exception, module, name)


def _restore(error: BaseException, state: object) -> None:
    if not isinstance(state, dict):
        return
    attributes = {name: value for name, value in cast("dict[str, object]", state).items() if is_attribute(name)}
    for name, member in slots_of(type(error)):
        value = attributes.pop(name, None)
        if isinstance(value, str | int) or (value is not None and not is_builtin(member.__objclass__)):
            member.__set__(error, value)
    own(error, "__dict__").update(attributes)


def _str(encoded: Encoded, name: str) -> str:
    value = encoded.get(name)
    return value if isinstance(value, str) else ""


def _list(encoded: Encoded, name: str) -> list[object]:
    value = encoded.get(name)
    return cast("list[object]", value) if isinstance(value, list) else []


def _objects(values: list[object], depth: int) -> list[Encoded]:
    return [cast("Encoded", value) for value in values if isinstance(value, dict) and depth > 0]
