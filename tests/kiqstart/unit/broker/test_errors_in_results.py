"""What becomes of an error on its way from the worker to the caller."""

import asyncio
import copy
import json
import math
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from sqlalchemy.exc import IntegrityError, StatementError
from taskiq import TaskiqResult
from taskiq.exceptions import TaskRejectedError

from kiqstart.broker.results import decode_result, encode_failure
from kiqstart.tasks.results.errors import (
    ResultRefusedError,
    ResultTooLargeError,
    TaskCancelledError,
    TaskExitedError,
    WorkerLostError,
)
from kiqstart.tasks.results.plain_values import is_small

# All texts, with JSON's escapes, and the names of at most 32 errors.
MOST_BYTES = 700_000


class CustomError(Exception):
    def __init__(self, code: int, *, detail: str, token: str = "s3cret") -> None:  # noqa: S107  # no password
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.token = token


class FixedError(Exception):
    def __init__(self) -> None:
        super().__init__("out of paper")


class User:
    name = "ada"


class OfAUserError(Exception):
    def __init__(self, user: User) -> None:
        super().__init__()
        self.user = user

    def __str__(self) -> str:
        return f"user {self.user.name} is locked"


class SlottedError(Exception):
    __slots__ = ("code",)

    def __init__(self, *, code: int) -> None:
        super().__init__()
        self.code = code

    def __str__(self) -> str:
        return f"code {self.code}"


@dataclass(frozen=True)
class FrozenError(Exception):
    code: int

    def __str__(self) -> str:
        return f"code {self.code}"


class Model(BaseModel):
    number: int


def sent(error: BaseException) -> BaseException:
    arrived = decode_result(encode_failure(error)).error
    assert arrived is not None
    return arrived


def caught(fail: Callable[[], object]) -> BaseException:
    try:
        fail()
    except Exception as error:  # noqa: BLE001  # any
        return error
    raise AssertionError("nothing was raised")


def chain(links: int, attribute: str) -> BaseException:
    error = ConnectionError(f"refused {links}")
    for number in reversed(range(links)):
        linked, error = error, ConnectionError(f"refused {number}")
        setattr(error, attribute, linked)
    return error


def links_of(error: BaseException | None) -> list[str]:
    links: list[str] = []
    while error is not None:
        links.append(str(error))
        error = error.__cause__ or error.__context__
    return links


def no_text() -> str:
    raise ZeroDivisionError


ERRORS: list[BaseException] = [
    CustomError(5, detail="why"),
    FixedError(),
    OfAUserError(User()),
    SlottedError(code=7),
    FrozenError(code=7),
    IntegrityError("INSERT INTO t", {"a": 1}, Exception("duplicate key"), hide_parameters=True),
    StatementError("not bound", "SELECT 1", None, ValueError("x")),
    caught(lambda: json.loads("{x")),
    caught(b"ab\xffcd".decode),
    caught(lambda: "ab\xff".encode("ascii")),
    caught(lambda: compile("a b", "f.py", "exec")),
    FileNotFoundError(2, "No such file", "/data/x"),
    OSError(22, "Invalid", "/a", None, "/b"),
    KeyError("key"),
    ImportError("no module", name="n", path="p"),
    ValueError(),
    ValueError({1, 2}),
    ValueError("several", (1, 2)),
    StopIteration(3),
    TaskRejectedError(),
    TaskCancelledError("id-1"),
    WorkerLostError("id-1"),
    ResultRefusedError("OOM command not allowed"),
    ResultTooLargeError("17 bytes, of which 16 are possible"),
    ExceptionGroup("several", [ValueError(1), ExceptionGroup("inner", [KeyError("k")])]),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_arrives_as_an_instance_of_its_class_with_its_text(error: BaseException) -> None:
    arrived = sent(error)
    assert isinstance(arrived, type(error))
    assert type(arrived).__name__ == type(error).__name__
    assert str(arrived) == str(error)


def raised(arrived: BaseException | None) -> BaseException:
    """What the task has raised."""
    assert arrived is not None
    cause = arrived.__cause__
    return cause if isinstance(arrived, TaskExitedError) and cause is not None else arrived


ENDS = [
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit("x"),
    asyncio.CancelledError(),
    BaseException("bare"),
    BaseExceptionGroup("several", [SystemExit(1), ValueError(2)]),
]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: type(end).__name__)
def test_what_would_end_the_caller_is_the_cause_of_an_error(end: BaseException) -> None:
    result = decode_result(encode_failure(end))
    with pytest.raises(TaskExitedError, match=type(end).__name__) as caught:
        result.raise_for_error()
    assert type(caught.value.__cause__).__name__ == type(end).__name__
    assert str(caught.value.__cause__) == str(end)


def test_an_error_that_only_its_own_constructor_can_make_has_a_stand_in_with_its_text() -> None:
    error = caught(lambda: Model.model_validate({}))
    arrived = sent(error)
    assert type(arrived).__name__ == "ValidationError"
    assert isinstance(arrived, ValueError)
    assert str(arrived) == str(error)
    assert "number\n  Field required" in str(arrived)


def test_an_error_whose_class_the_caller_has_not_imported_has_a_stand_in_that_says_what_it_was() -> None:
    class UnknownError(LookupError):  # its name has <locals>, so nobody finds it
        pass

    arrived = sent(UnknownError("a", 1))
    assert type(arrived).__name__ == "UnknownError"
    assert isinstance(arrived, LookupError)
    assert (str(arrived), arrived.args) == ("('a', 1)", ("a", 1))
    # A task that fails with the error of another one hands it on.
    assert type(sent(arrived)).__name__ == "UnknownError"
    assert "test_errors_in_results" in str(type(sent(arrived)).__doc__)


def test_attributes_that_the_text_shows_arrive_and_others_stay_where_they_were() -> None:
    arrived = sent(CustomError(5, detail="why"))
    assert isinstance(arrived, CustomError)
    assert (arrived.code, arrived.detail) == (5, "why")
    assert not hasattr(arrived, "token")
    assert b"s3cret" not in encode_failure(CustomError(5, detail="why"))
    for hides in (True, False):
        hidden = IntegrityError("INSERT", {"name": "s3cret"}, Exception("x"), hide_parameters=hides)
        assert b"s3cret" not in encode_failure(hidden)


def test_the_file_of_an_error_arrives() -> None:
    arrived = sent(FileNotFoundError(2, "No such file", "/data/x"))
    assert isinstance(arrived, FileNotFoundError)
    assert (arrived.errno, arrived.filename) == (2, "/data/x")


def test_what_utf8_cannot_hold_arrives_escaped() -> None:
    arrived = sent(ValueError("bad \udc80 name", {"\udc80": "\udc81"}))
    assert isinstance(arrived, ValueError)
    assert arrived.args == ("bad \\udc80 name", {"\\udc80": "\\udc81"})


def test_arguments_that_are_no_json_arrive_as_text_and_numbers_as_they_are() -> None:
    arrived = sent(ValueError(math.inf, b"x", [1, (2, {"a": User})]))
    assert arrived.args == (math.inf, "b'x'", [1, [2, {"a": repr(User)}]])


@pytest.mark.parametrize("error", [OfAUserError(User()), caught(lambda: Model.model_validate({}))])
def test_an_error_that_has_arrived_can_be_pickled_and_copied(error: BaseException) -> None:
    arrived = sent(error)
    for again in (pickle.loads(pickle.dumps(arrived)), copy.deepcopy(arrived)):  # noqa: S301  # made here
        assert type(again) is type(arrived)
        assert str(again) == str(error)


def test_notes_arrive() -> None:
    error = ValueError("x")
    error.add_note("while counting")
    assert sent(error).__notes__ == ["while counting"]


@pytest.mark.parametrize("attribute", ["__cause__", "__context__"])
@pytest.mark.parametrize("links", [15, 1000])
def test_a_long_chain_is_cut_off_and_takes_no_time(links: int, attribute: str) -> None:
    error = chain(links, attribute)
    began_at = time.process_time()
    data = encode_failure(error)
    assert time.process_time() - began_at < 0.5
    arrived = decode_result(data).error
    assert links_of(arrived) == [f"refused {number}" for number in range(11)]
    assert arrived is not None
    assert "left out" in arrived.__notes__[0]


def test_a_chain_that_refers_to_itself_ends() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__context__ = other, one
    assert links_of(sent(one)) == ["one", "other"]


def test_a_context_that_is_suppressed_stays_behind() -> None:
    def fail() -> None:
        try:
            no_text()
        except ZeroDivisionError:
            raise ValueError("v") from None

    arrived = sent(caught(fail))
    assert arrived.__suppress_context__
    assert arrived.__context__ is None


def test_cause_and_context_arrive_as_what_they_were() -> None:
    error = ValueError("v")
    error.__cause__, error.__context__, error.__suppress_context__ = KeyError("k"), OSError("o"), False
    arrived = sent(error)
    assert (repr(arrived.__cause__), repr(arrived.__context__)) == ("KeyError('k')", "OSError('o')")
    assert not arrived.__suppress_context__


def test_of_a_huge_group_some_arrive() -> None:
    group = ExceptionGroup("all failed", [ValueError(number) for number in range(100_000)])
    data = encode_failure(group)
    arrived = decode_result(data).error
    assert len(data) < MOST_BYTES
    assert isinstance(arrived, ExceptionGroup)
    assert str(cast("Exception", arrived)) == str(group)
    members = cast("tuple[Exception, ...]", arrived.exceptions)
    assert [error.args for error in members] == [(number,) for number in range(31)]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x" * 50_000_000),
        ValueError("\x00" * 1_000_000),
        ValueError(list(range(1_000_000))),
        ValueError(dict.fromkeys(range(10000), "x" * 1000)),
        ValueError(10**5000),
        ValueError(*range(100_000)),
        OSError(2, "No", "/" * 1_000_000),
    ],
    ids=["text", "escapes", "list", "dict", "number", "arguments", "file"],
)
def test_an_error_has_a_bound(error: Exception) -> None:
    data = encode_failure(error)
    assert len(data) < MOST_BYTES
    assert isinstance(decode_result(data).error, type(error))


def test_arguments_that_refer_to_the_same_things_again_and_again_are_cut_off() -> None:
    values: list[Any] = []
    error: BaseException = ValueError("first")
    for _ in range(100):
        values = [values, values]
        error = ValueError(error, error)
    assert len(encode_failure(ValueError(values))) < MOST_BYTES
    assert len(encode_failure(error)) < MOST_BYTES


class NoTextError(Exception):
    def __str__(self) -> str:
        return no_text()

    __repr__ = __str__


def test_an_error_that_cannot_say_what_it_is_arrives() -> None:
    arrived = sent(NoTextError(NoTextError()))
    assert isinstance(arrived, NoTextError)
    assert "ZeroDivisionError" in str(arrived)


def no_class(_: object) -> type:
    raise ZeroDivisionError


OddError = type("OddError", (Exception,), {"__class__": property(no_class), "__module__": __name__})


def test_an_error_that_raises_where_it_is_asked_for_its_class_arrives_as_one_that_does_not() -> None:
    arrived = sent(OddError("odd"))
    assert issubclass(type(arrived), OddError)
    assert (arrived.__class__.__name__, str(arrived)) == ("OddError", "odd")


# -- Older and other readers and writers


@pytest.mark.parametrize(
    "error",
    [one for one in ERRORS if not isinstance(one, OfAUserError | FrozenError)],
    ids=lambda error: type(error).__name__,
)
def test_taskiqs_own_reader_makes_an_error_with_that_text(error: BaseException) -> None:
    result = TaskiqResult[None].model_validate_json(encode_failure(error))
    assert result.error is not None
    assert type(error).__name__ in repr(result.error)
    if not error.args:
        assert str(error) in str(result.error)
    elif isinstance(error.args[0], str):
        assert error.args[0] in str(result.error) or repr(error.args[0]) in str(result.error)


def test_taskiqs_own_reader_says_what_was_wrong_with_a_model() -> None:
    result = TaskiqResult[None].model_validate_json(encode_failure(caught(lambda: Model.model_validate({}))))
    assert "Field required" in str(result.error)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_what_taskiq_has_written_is_read(error: BaseException) -> None:
    written = TaskiqResult[None](is_err=True, return_value=None, execution_time=0.0, error=error)
    arrived = decode_result(json.dumps(written.model_dump(mode="json")).encode()).error
    assert arrived is not None
    assert type(arrived).__name__ == type(error).__name__


def test_what_an_older_version_has_written_is_read_with_its_chain() -> None:
    cause = {"exc_type": "KeyError", "exc_message": ["k"], "exc_module": "builtins"}
    module = "kiqstart.tasks.results.errors"
    old = {"exc_type": "TaskCancelledError", "exc_message": ["id-1"], "exc_module": module, "exc_cause": cause}
    error = decode_result(
        json.dumps({"is_err": True, "return_value": None, "execution_time": 0, "error": old}).encode()
    )
    assert isinstance(error.error, TaskCancelledError)
    assert str(error.error) == "task id-1 was cancelled"
    assert repr(error.error.__cause__) == "KeyError('k')"


# -- Strangers who write results


calls: list[object] = []


class Trap(Exception):  # noqa: N818  # no error, but a trap
    def __new__(cls, *args: object) -> Self:
        calls.append(args)
        return super().__new__(cls, *args)

    def __init__(self, *args: object) -> None:
        calls.append(args)
        super().__init__(*args)

    def __init_subclass__(cls) -> None:
        calls.append(cls)

    def __setattr__(self, name: str, value: object) -> None:
        calls.append(name)


def planted(module: object, name: object, **more: object) -> BaseException:
    error = {"exc_type": name, "exc_module": module, "exc_message": ["touch /tmp/planted"], **more}
    result = {"is_err": True, "return_value": None, "execution_time": 0, "error": error}
    arrived = decode_result(json.dumps(result).encode()).error
    assert arrived is not None
    return arrived


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("builtins", "eval"),
        ("builtins", "object"),
        ("builtins", "ValueError.__init__"),
        ("builtins", "__build_class__"),
        ("no.such.module", "Error"),
        ("builtins", "x" * 100_000),
        ("builtins", "no identifier\x00"),
        ("", ""),
        (None, None),
        (7, ["x"]),
    ],
)
def test_what_names_no_error_is_a_stand_in(module: object, name: object) -> None:
    arrived = planted(module, name)
    assert type(arrived).__mro__[1:] == Exception.__mro__
    assert str(arrived) == "touch /tmp/planted"


def test_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    def note(name: str, *_: object, **__: object) -> None:
        calls.append(name)

    monkeypatch.setattr("builtins.__import__", note)
    calls.clear()
    # A module that is not imported, and one whose __getattr__ would import another.
    planted("antigravity", "Error")
    planted("kiqstart", "StreamBroker")
    assert calls == []


def test_no_code_of_a_class_runs_to_make_its_error() -> None:
    calls.clear()
    arrived = planted(__name__, "Trap", text="other", state={"code": 1, "__class__": "x", "a b": 2}, notes=["note"])
    assert calls == []
    assert type(arrived).__name__ == "Trap"
    assert str(arrived) == "other"


FIELDS_OF_OTHER_TYPES: list[dict[str, object]] = [
    {"args": 5, "text": 7, "state": [1], "notes": "x", "exceptions": {"a": 1}, "exc_cause": "x", "base": 3},
    {"exc_cause": {}, "exc_context": {"exc_cause": {"exceptions": [{}, 1, None]}}, "exc_suppress_context": 9},
    {"state": {"errno": [1], "filename": {"a": 1}, "args": 7, "with_traceback": 1}, "text": "x"},
    {"args": [{"a": [None]}], "exceptions": [{"exc_type": "SystemExit", "exc_module": "builtins"}], "text": ""},
]


@pytest.mark.parametrize("more", FIELDS_OF_OTHER_TYPES)
@pytest.mark.parametrize("name", ["OSError", "ExceptionGroup", "UnicodeDecodeError", "SyntaxError", "BaseException"])
def test_fields_of_other_types_are_passed_over(name: str, more: dict[str, object]) -> None:
    assert type(raised(planted("builtins", name, **more))).__name__ == name


# -- Whatever there may be

TEXTS = st.text(st.characters(exclude_categories=()), max_size=30)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.binary(max_size=10) | st.just(User()),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(TEXTS | st.integers(), inner, max_size=3)
        | st.lists(inner, max_size=2).map(lambda items: [items, items])
    ),
    max_leaves=20,
)
CLASSES = [ValueError, KeyError, OSError, RuntimeError, FixedError, StopIteration, SystemExit, NoTextError, Exception]


@st.composite
def trees(draw: st.DrawFn) -> BaseException:
    """Errors that refer to each other in any way, and groups of them."""
    made: list[BaseException] = []
    for _ in range(draw(st.integers(1, 25))):
        is_group: bool = draw(st.booleans())
        if made and is_group:
            members = draw(st.lists(st.sampled_from(made), min_size=1, max_size=40))
            made.append(BaseExceptionGroup(draw(TEXTS), members))
            continue
        cls = draw(st.sampled_from(CLASSES))
        parts = draw(st.lists(VALUES | st.sampled_from(made) if made else VALUES, max_size=4))
        made.append(cls() if cls is FixedError else cls(*parts))
        made[-1].__dict__.update(draw(st.dictionaries(TEXTS, VALUES, max_size=3)))
    for error in made:
        error.__cause__ = draw(st.none() | st.sampled_from(made))
        error.__context__ = draw(st.none() | st.sampled_from(made))
        error.__suppress_context__ = draw(st.booleans())
    return made[-1]


def shown(error: BaseException) -> str:
    is_group = issubclass(type(error), BaseExceptionGroup)
    if not is_group and not is_small(error.args):
        # Python itself would take for ever.
        return ""
    try:
        return str(error).encode("utf-8", "backslashreplace").decode()
    except Exception:  # noqa: BLE001  # its own
        return ""


def test_a_group_keeps_its_class_where_one_in_it_is_written_elsewhere() -> None:
    ended = SystemExit()
    group = BaseExceptionGroup("outer", [BaseExceptionGroup("inner", [ended])])
    group.__context__ = ended
    arrived = raised(decode_result(encode_failure(group)).error)
    assert type(arrived).__name__ == "BaseExceptionGroup"
    assert isinstance(arrived, BaseExceptionGroup)


@settings(max_examples=60, deadline=None)
@given(trees())
def test_any_tree_of_errors_arrives_in_time_and_within_a_bound(error: BaseException) -> None:
    began_at = time.process_time()
    data = encode_failure(error)
    arrived = raised(decode_result(data).error)
    assert time.process_time() - began_at < 1
    assert len(data) < MOST_BYTES
    assert type(arrived).__name__ == type(error).__name__
    assert shown(error)[:1000] in str(arrived)
