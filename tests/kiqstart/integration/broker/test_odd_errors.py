"""Whatever class of error a task lets out: it is that task's error, and its worker goes on."""

import asyncio
import itertools
import random
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis.asyncio import Redis
from taskiq import TaskiqMessage, TaskiqMiddleware, TaskiqResult
from taskiq.exceptions import TaskRejectedError
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, letters_of, working

from kiqstart.broker.broker import StreamBroker
from kiqstart.tasks.registration import register_task
from kiqstart.testing import eventually

ODD_ERRORS = [
    StopIteration(1),
    StopAsyncIteration(1),
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    asyncio.CancelledError(),
    BaseException("bare"),
    BaseExceptionGroup("several", [SystemExit(1), StopIteration()]),
    TaskRejectedError(),
]


class Raising:
    """Raises an error, in a coroutine or in a thread, at once or after having waited."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    async def at_once(self) -> None:
        raise self._error

    async def later(self) -> None:
        await asyncio.sleep(0)
        raise self._error

    async def after_cancelling_itself(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        raise self._error

    def in_thread(self) -> None:
        raise self._error


@pytest.mark.parametrize("error", ODD_ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("kind", ["at_once", "later", "after_cancelling_itself", "in_thread"])
@pytest.mark.parametrize("labels", [{}, {"timeout": 5.0}], ids=["unlimited", "limited"])
async def test_its_worker_goes_on(
    broker: StreamBroker, redis: Redis, kind: str, error: BaseException, labels: dict[str, float]
) -> None:
    function: Callable[[], Any] = getattr(Raising(error), kind)

    async def run() -> Any:  # noqa: ANN401  # nothing, in the end
        return await function()

    target = (lambda: function()) if kind == "in_thread" else run  # noqa: PLW0108  # a method cannot be renamed
    task = broker.register_task(target, task_name="odd", **labels)

    async def echo(number: int) -> int:
        return number

    async with working(broker):
        sent = await task.kiq()
        result = await sent.wait_result(timeout=HANG)
        assert result.is_err
        # As Python itself has it where a coroutine raises StopIteration.
        is_replaced = isinstance(error, StopIteration) or (isinstance(error, GeneratorExit) and kind == "in_thread")
        assert (RuntimeError if is_replaced else type(error)).__name__ in repr(result.error)

        async def is_over() -> bool:
            return await redis.xlen(broker.keys.stream("default")) == 0

        await eventually(is_over)
        assert (
            await (await register_task(broker, echo, name="echo").kiq(1)).wait_result(timeout=HANG)
        ).return_value == 1
    assert await redis.zcard(broker.keys.delayed) == 0


async def test_a_task_that_cancels_itself_too_late_keeps_its_result(broker: StreamBroker, redis: Redis) -> None:
    async def run() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "done"

    async with working(broker):
        sent = await register_task(broker, run, name="run").kiq()
        assert (await sent.wait_result(timeout=HANG)).return_value == "done"
    assert await redis.xlen(broker.keys.stream("default")) == 0


# -- Classes that have their own word for what Python gives to every error

WORDS = [
    "__class__",
    "__traceback__",
    "__cause__",
    "__context__",
    "__suppress_context__",
    "__dict__",
    "__notes__",
    "args",
]
CODE = ["__str__", "__repr__", "__reduce__", "__reduce_ex__", "__getattribute__", "__getattr__", "__setattr__"]
MORE_CODE = ["__eq__", "__hash__", "__bool__", "__len__", "with_traceback", "__instancecheck__"]
OF_METACLASSES = ["__name__", "__module__", "__mro__", "__dict__", "__getattribute__", "__hash__", "__eq__"]
ODD_VALUES: list[Any] = [None, 5, "\udc80", ValueError]


def odd_word(outcome: object) -> Callable[..., Any]:
    """Code that raises an error, or gives a value."""

    def word(*_: object) -> object:
        if isinstance(outcome, BaseException):
            raise type(outcome)("odd")
        return outcome

    return word


def odd_classes(chance: random.Random) -> Iterator[type[BaseException]]:
    """Each word alone with each outcome, then several at once."""
    outcomes = [*ODD_VALUES, LookupError(), KeyboardInterrupt(), asyncio.CancelledError()]
    for name, outcome in itertools.product([*WORDS, *CODE, *MORE_CODE], outcomes):
        word = odd_word(outcome)
        yield type("OddError", (ValueError,), {name: property(word) if name in WORDS else word})
    for name, outcome in itertools.product(OF_METACLASSES, outcomes[-3:]):
        word = odd_word(outcome)
        is_code = name in [*CODE, *MORE_CODE]
        yield type("OddMeta", (type,), {name: word if is_code else property(word)})("OddError", (ValueError,), {})
    for _ in range(40):
        names = chance.sample([*WORDS, *CODE, *MORE_CODE], k=4)
        words = {name: odd_word(chance.choice(outcomes)) for name in names}
        yield type("OddError", (LookupError,), {n: property(w) if n in WORDS else w for n, w in words.items()})


async def test_an_error_that_says_odd_things_of_itself_is_its_tasks_error_and_has_its_name(
    brokers: Brokers, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    broker, heard = brokers(), list[str]()
    errors = [cls("what is wrong") for cls in odd_classes(random.Random(1))]  # noqa: S311  # not a secret
    for number, error in enumerate(errors[::7]):
        # An error of which only the cause is odd; and a group of such.
        errors.append(ValueError(number))
        BaseException.__dict__["__cause__"].__set__(errors[-1], error)
        errors.append(BaseExceptionGroup("several", [error, KeyError(number)]))

    class Hearing(TaskiqMiddleware):
        async def on_error(self, message: TaskiqMessage, result: TaskiqResult[Any], exception: BaseException) -> None:  # noqa: ARG002
            assert isinstance(exception, BaseException)
            heard.append(f"{exception} {exception!r} {exception.__class__} {exception.args} {exception.__cause__}")

    async def run(number: int) -> None:
        raise errors[number]

    def run_in_thread(number: int) -> None:
        raise errors[number]

    broker.add_middlewares(Hearing())
    tasks: list[Any] = [register_task(broker, run, name="run", max_retries=1, retry_delay=0, retry_on=(LookupError,))]
    tasks.append(register_task(broker, run, name="timed", timeout=30))
    tasks.append(broker.register_task(run_in_thread, task_name="thread"))
    tasks.append(broker.register_task(run_in_thread, task_name="timed_thread", timeout=30))
    async with working(broker):
        turns = itertools.cycle(tasks)
        sent = [(number, await next(turns).kiq(number)) for number in [*range(len(errors)), *range(len(errors) // 2)]]
        for number, one in sent:
            result = await one.wait_result(timeout=HANG)
            assert result.is_err
            assert result.error is not None
            name = type.__dict__["__name__"].__get__(type(errors[number]))
            assert (type(result.error).__name__, isinstance(result.error, OSError)) == (name, False)
            assert "".join(traceback.format_exception(result.error))
    spent = {letter["reason"] for letter in await letters_of(redis, broker)}
    assert spent <= {"retries-exhausted"}
    assert len(heard) >= len(sent)
    assert "could not be ended" not in caplog.text
    assert "of a middleware failed" not in caplog.text
