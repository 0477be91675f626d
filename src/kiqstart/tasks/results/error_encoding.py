"""Writes an error as bounded JSON: its chain, its group, its arguments and its text.

Each error is an object with the fields that taskiq reads (`exc_type`, `exc_module`, `exc_message`, `exc_cause`,
`exc_context`, `exc_suppress_context`), so older readers and taskiq's own understand it. Beside them stand fields that
these ignore:

    text        `str(error)`, which arguments alone often do not give
    args        the arguments, if `exc_message` holds the text for want of any
    base        the nearest builtin class, for readers that have not imported the error's own
    state       attributes that are numbers, or text that is a part of `text`
    notes       PEP 678 notes
    exceptions  the members of an exception group
    format      version of all this, in the outermost error
"""

import builtins
from collections import deque
from collections.abc import Iterator
from itertools import islice
from types import MappingProxyType, MemberDescriptorType, WrapperDescriptorType
from typing import Any, Final, cast

from kiqstart.observability.redaction import is_secret_name
from kiqstart.tasks.results.plain_values import (
    MAX_TEXT,
    Budget,
    Plain,
    class_name,
    clip,
    is_a,
    is_small,
    members_of,
    shown_text,
)

FORMAT: Final = 1
# An error's cause has depth 1, that one's cause depth 2; groups count alike.
MAX_DEPTH: Final = 10
MAX_ERRORS: Final = 32
MAX_NOTES: Final = 8
MAX_ATTRIBUTES: Final = 32
MAX_NAME: Final = 200
# In bytes of UTF-8: all that one error has, and all errors together. JSON's escapes may add to that.
MAX_ERROR: Final = 24 * 1024
MAX_TOTAL: Final = 96 * 1024
# Attributes that builtin errors keep outside of `__dict__` and that do not follow from their arguments.
BUILTIN_ATTRIBUTES: Final[dict[type[BaseException], tuple[str, ...]]] = {
    OSError: ("errno", "strerror", "filename", "filename2"),
    ImportError: ("msg", "name", "path"),
    NameError: ("name",),
    AttributeError: ("name",),
}
# What a stand-in stands for, as module and qualified name: an attribute of its class.
ORIGIN: Final = "__kiqstart_origin__"
NO_TEXT: Final = "<no text"
_SOME_LEFT_OUT: Final = "further errors of this chain are left out"

Encoded = dict[str, Plain]


def encode_error(error: BaseException, *, max_depth: int = MAX_DEPTH) -> Encoded:
    """An error as plain values, in time and size that have a bound, whatever it refers to.

    Args:
        error: anything, also with cycles in its chain. What its own `__str__` raises is survived.
        max_depth: how many links of a chain are kept.
    """
    total = Budget(MAX_TOTAL)
    root: Encoded = {}
    seen = {id(error)}
    # Breadth first: when there are too many, the near ones matter more.
    waiting: deque[tuple[BaseException, Encoded, int]] = deque([(error, root, 0)])
    left_out = False
    while waiting:
        one, encoded, depth = waiting.popleft()
        budget = total.part(MAX_ERROR)
        _describe(one, encoded, budget)
        for name, linked in _links(one):
            if id(linked) in seen:
                continue
            if depth >= max_depth or len(seen) == MAX_ERRORS or total.is_spent:
                left_out = True
                break
            seen.add(id(linked))
            child: Encoded = {}
            if name == "exceptions":
                cast("list[Plain]", encoded.setdefault(name, [])).append(child)
            else:
                encoded[name] = child
            waiting.append((linked, child, depth + 1))
    if left_out:
        root["notes"] = [*cast("list[Plain]", root.get("notes", [])), _SOME_LEFT_OUT]
    root["format"] = FORMAT
    return root


def has_long_chain(error: BaseException, *, max_depth: int) -> bool:
    """Whether an error's chain has more links than that, or a cycle."""
    level, count = [error], 0
    for _ in range(max_depth + 1):
        level = [linked for one in level for _, linked in islice(_links(one), MAX_ERRORS)]
        count += len(level)
        if count > MAX_ERRORS:
            return True
    return bool(level)


def text_of(error: BaseException) -> str:
    """`str(error)` as UTF-8 can hold it, bounded, without secrets; a stand-in if it has none."""
    maker = next(space["__str__"] for space in namespaces_of(type(error)) if "__str__" in space)
    # It writes all arguments out, and each as often as it is referred to.
    writes_args = is_a(maker, WrapperDescriptorType) and maker is not BaseExceptionGroup.__str__
    try:
        if not writes_args or is_small(own(error, "args")):
            return shown_text(str(error), MAX_TEXT)
    except BaseException as problem:  # noqa: BLE001  # the error's own code, whatever it raises
        if not writes_args:
            return f"{NO_TEXT}: its __str__ raises {class_name(type(problem))}>"
    budget = Budget(MAX_TEXT)
    args = tuple(budget.plain(arg) for arg in own(error, "args")[:MAX_ATTRIBUTES])
    return shown_text(str(args[0] if len(args) == 1 else args), MAX_TEXT)


def own(error: BaseException, name: str) -> Any:  # noqa: ANN401  # as the attribute is
    """An attribute that all errors have, also of a class that has another one by that name."""
    return BaseException.__dict__[name].__get__(error)


def bases_of(cls: type) -> tuple[type, ...]:
    """A class and what it derives from, whatever its metaclass says."""
    return cast("tuple[type, ...]", type.__dict__["__mro__"].__get__(cls))


def namespace_of(cls: type) -> MappingProxyType[str, object]:
    """What a class itself defines, whatever its metaclass says."""
    return cast("MappingProxyType[str, object]", type.__dict__["__dict__"].__get__(cls))


def namespaces_of(cls: type) -> Iterator[MappingProxyType[str, object]]:
    """What a class and those that it derives from define, in the order in which Python looks."""
    return map(namespace_of, bases_of(cls))


def slots_of(cls: type[BaseException]) -> Iterator[tuple[str, MemberDescriptorType]]:
    """The attributes of a class that are not in `__dict__` and may be set, with what sets them."""
    for base in bases_of(cls):
        space = namespace_of(base)
        known = BUILTIN_ATTRIBUTES.get(base) if is_builtin(base) else None
        for name in known or (tuple(space) if "__slots__" in space else ()):
            member = space.get(name)
            if is_a(member, MemberDescriptorType):
                yield name, member


def is_builtin(cls: type) -> bool:
    """Whether a class is one of Python's own, and not only named like it."""
    return vars(builtins).get(class_name(cls)) is cls


def is_attribute(name: object) -> bool:
    """Whether a name may be that of an attribute that is carried along."""
    return type(name) is str and name.isidentifier() and not name.startswith("__") and len(name) <= MAX_NAME


def full_name_of(cls: type) -> tuple[str, str]:
    """A class's module and qualified name; those of what it stands for, where it is a stand-in."""
    space = namespace_of(cls)
    if is_a(origin := space.get(ORIGIN), tuple):
        return cast("tuple[str, str]", origin)
    module: object = type.__dict__["__module__"].__get__(cls)
    return module if type(module) is str else "", class_name(cls, "__qualname__")


def _describe(error: BaseException, encoded: Encoded, budget: Budget) -> None:
    cls = type(error)
    module, name = full_name_of(cls)
    text = budget.text(text_of(error))
    args: list[Plain] = [budget.plain(arg) for arg in own(error, "args")[:MAX_ATTRIBUTES]]
    encoded |= {
        "exc_type": clip(name, MAX_NAME),
        "exc_module": clip(module, MAX_NAME),
        # Readers that know nothing of "text" show this.
        "exc_message": args or ([text] if text else []),
        "exc_cause": None,
        "exc_context": None,
        "exc_suppress_context": own(error, "__suppress_context__"),
        "text": text,
        "base": next(base.__name__ for base in bases_of(cls) if is_builtin(base)),
    }
    if not args:
        encoded["args"] = []
    if state := _state(error, text, budget):
        encoded["state"] = state
    if notes := _notes(error, budget):
        encoded["notes"] = notes


def _links(error: BaseException) -> Iterator[tuple[str, BaseException]]:
    if (cause := own(error, "__cause__")) is not None:
        yield "exc_cause", cause
    if (context := own(error, "__context__")) is not None and not own(error, "__suppress_context__"):
        yield "exc_context", context
    for member in members_of(error):
        yield "exceptions", member


def _state(error: BaseException, text: str, budget: Budget) -> dict[str, Plain]:
    """Attributes that are numbers, or that the text shows: no secret gets out that the text keeps."""
    state: dict[str, Plain] = {}
    for name, value in _attributes(error):
        if len(state) == MAX_ATTRIBUTES or budget.is_spent:
            break
        if is_secret_name(name):
            continue
        is_number = value is None or any(type(value) is kind for kind in (bool, int, float))
        if is_number or (is_a(value, str) and str.__str__(value) in text):
            state[budget.text(name)] = budget.plain(value)
    return state


def _attributes(error: BaseException) -> Iterator[tuple[str, object]]:
    for name, member in slots_of(type(error)):
        try:
            value = member.__get__(error, type(error))
        except AttributeError:
            continue
        if value is not None or not is_builtin(member.__objclass__):
            yield name, value
    for name, value in list(own(error, "__dict__").items()):
        if is_attribute(name):
            yield name, value


def _notes(error: BaseException, budget: Budget) -> list[Plain]:
    notes: object = own(error, "__dict__").get("__notes__")
    if not is_a(notes, list):
        return []
    first = islice(list[object].__iter__(cast("list[object]", notes)), MAX_NOTES)
    return [budget.text(note) for note in first if is_a(note, str)]
