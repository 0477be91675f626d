"""What can be a task, and what stops the start with a line."""

import contextlib
import functools
import inspect
import re
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Unpack
from unittest.mock import AsyncMock, MagicMock
from uuid import UUID

import pytest
import typing_extensions
from hypothesis import given
from hypothesis import strategies as st
from taskiq import AsyncBroker, Context, InMemoryBroker, TaskiqDepends
from tests.deadlines import HANG

from kiqstart.tasks.arguments import ArgumentsMiddleware, TaskArguments
from kiqstart.tasks.errors import InvalidTaskArgumentsError, WiringError
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.uniqueness import UniquenessMiddleware

if TYPE_CHECKING:
    from decimal import Decimal

OWNER = UUID("6a1c1f1e-5d0b-4b0e-9f53-0d6ac1d0a001")


@pytest.fixture
def broker() -> AsyncBroker:
    return InMemoryBroker(await_inplace=True).with_middlewares(ArgumentsMiddleware(), UniquenessMiddleware())


class Reports:
    """A class like a controller."""

    async def build(self, owner: UUID, pages: int = 1) -> str:
        return f"{type(owner).__name__} {pages}"


def timed(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapped(*args: object, **kwargs: object) -> object:
        return await function(*args, **kwargs)

    return wrapped


def with_session(function: Callable[..., Any]) -> Callable[..., Any]:
    """Hands in a session, and says so."""

    @functools.wraps(function)
    async def wrapped(self: object, *args: object, **kwargs: object) -> object:
        return await function(self, "session", *args, **kwargs)

    signature = inspect.signature(function)
    rest = [one for one in signature.parameters.values() if one.name != "session"]
    wrapped.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined]  # read by inspect
    return wrapped


def handed_on(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that is not async itself."""

    @functools.wraps(function)
    def wrapped(*args: object, **kwargs: object) -> object:
        return function(*args, **kwargs)

    return wrapped


class Threaded:
    """Methods that are not async."""

    def plain(self, owner: UUID, pages: int = 1) -> str:
        assert threading.current_thread() is not threading.main_thread()
        return f"{type(owner).__name__} {pages}"

    def in_context(self, context: Annotated[Context, TaskiqDepends()], owner: UUID, pages: int = 1) -> str:
        assert context.message.task_name == "work"
        return self.plain(owner, pages)

    __call__ = plain


class Options(typing_extensions.TypedDict, total=False):
    copies: int
    day: datetime


class Decorated:
    @timed
    async def plain(self, owner: UUID, pages: int = 1) -> str:
        return f"{type(owner).__name__} {pages}"

    @timed
    @timed
    async def twice(self, owner: UUID, pages: int = 1) -> str:
        return f"{type(owner).__name__} {pages}"

    @with_session
    async def in_session(self, session: str, owner: UUID, pages: int = 1) -> str:
        assert session == "session"
        return f"{type(owner).__name__} {pages}"

    @timed
    async def in_context(self, owner: UUID, pages: int = 1, context: Context = TaskiqDepends()) -> str:
        assert context.message.task_name == "work"
        return f"{type(owner).__name__} {pages}"

    @timed
    async def with_annotated_context(
        self, context: Annotated[Context, TaskiqDepends()], owner: UUID, pages: int = 1
    ) -> str:
        assert context.message.task_name == "work"
        return f"{type(owner).__name__} {pages}"

    @handed_on
    async def through_a_plain_function(self, owner: UUID, pages: int = 1) -> str:
        return f"{type(owner).__name__} {pages}"

    @staticmethod
    async def static(owner: UUID, pages: int = 1) -> str:
        return f"{type(owner).__name__} {pages}"

    @classmethod
    async def of_class(cls, owner: UUID, pages: int = 1) -> str:
        return f"{type(owner).__name__} {pages}"

    def promised(self, owner: UUID, pages: int = 1) -> Coroutine[Any, Any, str]:
        return self.static(owner, pages)

    async def __call__(self, owner: "UUID", pages: "int" = 1) -> "str":
        return f"{type(owner).__name__} {pages}"


async def add(word: str, owner: UUID, pages: int = 2, *, more: int) -> str:
    return f"{word} {type(owner).__name__} {pages + more}"


CALLABLES: list[Callable[..., Any]] = [
    Decorated().plain,
    Decorated().twice,
    Decorated().in_session,
    Decorated().in_context,
    Decorated().with_annotated_context,
    Decorated().through_a_plain_function,
    Decorated().static,
    Decorated.static,
    staticmethod(Decorated.static),
    Decorated().of_class,
    Decorated().promised,
    Decorated(),
    Threaded().plain,
    Threaded().in_context,
    Threaded(),
    functools.partial(Threaded().plain),
    functools.partial(Decorated().plain),
    functools.partial(Decorated().plain, pages=7),
]


@pytest.mark.parametrize("method", CALLABLES)
async def test_whatever_can_be_awaited_is_called_as_its_caller_sees_it(
    broker: AsyncBroker, method: Callable[..., Any]
) -> None:
    task = register_task(broker, method, name="work", unique="{owner}:{pages}")
    for sending in (task.kiq(OWNER, pages=2), task.kiq(str(OWNER), pages="2"), task.kiq(pages=2, owner=OWNER)):
        result = await (await sending).wait_result(timeout=HANG)
        assert (result.error, result.return_value) == (None, "UUID 2")
    wrong: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((), {}),
        (("self", OWNER, 2), {}),
        ((OWNER,), {"pages": "x"}),
    ]
    for args, kwargs in wrong:
        with pytest.raises(InvalidTaskArgumentsError, match="work: "):
            await task.kiq(*args, **kwargs)


async def test_a_partial_takes_what_is_left(broker: AsyncBroker) -> None:
    task = register_task(broker, functools.partial(add, "sum", more=1), name="add")
    assert (await (await task.kiq(OWNER)).wait_result(timeout=HANG)).return_value == "sum UUID 3"
    assert (await (await task.kiq(OWNER, pages=4, more=2)).wait_result(timeout=HANG)).return_value == "sum UUID 6"


async def test_unpacked_options_are_checked_one_by_one(broker: AsyncBroker) -> None:
    async def copy(*numbers: *tuple[int, str], **options: Unpack[Options]) -> str:
        return f"{numbers} {sorted(options)} {type(options.get('day')).__name__}"

    task: Any = register_task(broker, copy, name="copy")
    sent = await task.kiq("1", "a", copies=2, day="2026-01-01T00:00:00Z")
    assert (await sent.wait_result(timeout=HANG)).return_value == "(1, 'a') ['copies', 'day'] datetime"
    for wrong, problem in (
        ({"colour": 1}, "got an unexpected keyword argument 'colour'; it takes copies, day"),
        ({"copies": "x"}, "argument copies: Input should be a valid integer"),
    ):
        with pytest.raises(InvalidTaskArgumentsError, match=problem):
            await task.kiq(1, "a", **wrong)


async def test_a_result_that_is_not_annotated_is_not_parsed(
    broker: AsyncBroker, caplog: pytest.LogCaptureFixture
) -> None:
    async def work():  # type: ignore[no-untyped-def]  # noqa: ANN202  # the point
        return 1

    task: Any = register_task(broker, work, name="work")
    assert (await (await task.kiq()).wait_result(timeout=HANG)).return_value == 1
    assert caplog.text == ""


async def yielding(number: int) -> AsyncIterator[int]:
    yield number


def generating(number: int) -> Iterator[int]:
    yield number


async def unknown(amount: "Decimal") -> None: ...


async def unknown_result() -> "list[Decimal]":
    return []


async def unreadable(amount: "not a type") -> None: ...  # type: ignore[valid-type]  # noqa: F722  # the point


async def filled_in_by_place(context: Context = TaskiqDepends(), /) -> None: ...


async def filled_in_before(context: Context = TaskiqDepends(), *numbers: int) -> None: ...


def circular() -> None: ...


circular.__wrapped__ = circular  # type: ignore[attr-defined]  # the point


class Hostile:
    """Raises wherever it is read."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(name)

    async def __call__(self) -> None: ...


class Unhashable:
    __hash__ = None  # type: ignore[assignment]  # the point

    def __call__(self, number: int) -> Awaitable[int]:
        raise NotImplementedError


def misleading() -> None: ...


misleading.__signature__ = "none"  # type: ignore[attr-defined]  # the point


def secret_by_place(password: str, /) -> None: ...


def secret_before_others(api_key: str, *numbers: int) -> None: ...


UNSUITABLE: list[tuple[Any, str]] = [
    (Reports.build, "it takes self: register the method of an instance"),
    (unknown, "parameter amount: its type 'Decimal' names Decimal, which is not known: import it at run time"),
    (unknown_result, r"its return type 'list\[Decimal\]' names Decimal, which is not known: import it at run time"),
    (unreadable, "parameter amount: its type 'not a type' cannot be read"),
    (yielding, "it yields, and a task has one result"),
    (generating, "it yields, and a task has one result"),
    (filled_in_by_place, "parameter context: what the worker fills in is passed by its name"),
    (filled_in_before, r"parameter \*numbers: what the worker fills in has to stand after it"),
    (secret_by_place, "parameter password: a secret is known by its name"),
    (secret_before_others, "parameter api_key: a secret is known by its name"),
    (misleading, ""),
    (circular, ""),
    (Hostile(), ""),
    (len, "len is not a Python function"),
    (print, "print is not a Python function"),
    (dict, "dict is not a Python function"),
    (Reports, "Reports is not a Python function"),
    (functools.partial(int, base=2), "a partial is not a Python function"),
    (str.upper, "is not a Python function"),
    ("".join, "is not a Python function"),
    (classmethod(Decorated.of_class.__func__), "a classmethod cannot be called"),  # type: ignore[attr-defined]  # of methods
    (property(len), "a property cannot be called"),
    (None, "a NoneType cannot be called"),
    ("report", "a str cannot be called"),
    (Reports(), "a Reports cannot be called"),
    (functools.partialmethod(Reports.build, pages=1), ""),
]


@pytest.mark.parametrize(("method", "problem"), UNSUITABLE, ids=range(len(UNSUITABLE)))
def test_what_cannot_be_a_task_stops_the_start_with_a_line(broker: AsyncBroker, method: object, problem: str) -> None:
    with pytest.raises(WiringError, match=f": task 'work': .*{problem}") as caught:
        register_task(broker, method, name="work")  # type: ignore[arg-type]  # wrong on purpose
    assert "\n" not in str(caught.value)
    assert broker.find_task("work") is None


async def test_a_coroutine_instead_of_its_function(broker: AsyncBroker) -> None:
    with pytest.raises(WiringError, match="it is a coroutine: register the method itself, without calling it"):
        register_task(broker, Reports().build(OWNER), name="work")  # type: ignore[arg-type]  # wrong on purpose


def executed() -> Callable[..., Any]:
    namespace: dict[str, Any] = {}
    exec("async def work(number: int) -> int: return number", namespace)  # noqa: S102  # a function without a module
    namespace["work"].__module__ = "nowhere"
    made: Callable[..., Any] = namespace["work"]
    return made


@pytest.mark.parametrize("method", [Unhashable(), AsyncMock(), MagicMock(), executed()])
def test_odd_callables_are_taken(broker: AsyncBroker, method: Callable[..., Any]) -> None:
    register_task(broker, method, name="work")


async def test_a_refusal_names_the_file_of_the_task_and_not_of_its_decorator(broker: AsyncBroker) -> None:
    async def draw(canvas: Reports) -> None: ...

    @contextlib.asynccontextmanager
    async def transaction() -> AsyncGenerator[None]:
        yield

    with pytest.raises(WiringError, match=r"test_callables\.py: task 'draw': parameter canvas"):
        register_task(broker, transaction()(draw), name="draw")


NAMES = st.sampled_from(["first", "second", "third", "fourth"])


def of_none() -> None: ...
def of_one(first: int) -> None: ...
def of_three(first: int, second: int, third: int) -> None: ...
def of_a_default(first: int, second: int = 2) -> None: ...
def of_a_name(first: int, *, second: int) -> None: ...
def of_any(first: int, *others: int, **named: int) -> None: ...
def of_a_place(first: int, /, second: int) -> None: ...


@pytest.mark.parametrize("function", [of_none, of_one, of_three, of_a_default, of_a_name, of_any, of_a_place])
@given(args=st.lists(st.integers(), max_size=4), kwargs=st.dictionaries(NAMES, st.integers(), max_size=4))
def test_arguments_get_their_names_as_python_gives_them(
    function: Callable[..., object], args: list[int], kwargs: dict[str, int]
) -> None:
    arguments = TaskArguments(function)
    try:
        expected = inspect.signature(function).bind(*args, **kwargs)
    except TypeError as error:
        with pytest.raises(InvalidTaskArgumentsError, match=re.escape(str(error))):
            arguments.bind("work", args, kwargs)
    else:
        bound = arguments.bind("work", args, kwargs)
        assert list(bound.arguments.items()) == list(expected.arguments.items())
        assert (bound.args, bound.kwargs) == (expected.args, expected.kwargs)
