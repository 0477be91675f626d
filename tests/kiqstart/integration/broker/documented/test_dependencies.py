import asyncio
from collections.abc import AsyncGenerator, Generator
from itertools import count
from typing import Annotated

import pytest
from taskiq import AsyncBroker, Context, TaskiqDepends, TaskiqState
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, working
from tests.kiqstart.integration.broker.documented.serving import outcome, serving

events: list[str] = []
numbers = count()


@pytest.fixture(autouse=True)
def _forget() -> None:
    events.clear()


def number() -> int:
    return next(numbers)


async def greeting() -> str:
    await asyncio.sleep(0)
    return "hello"


class Greeter:
    def __init__(self, word: str = TaskiqDepends(greeting)) -> None:
        self.word = word


def opened(word: str = TaskiqDepends(greeting)) -> Generator[str]:
    events.append("open")
    try:
        yield f"{word} from a generator"
    except LookupError:
        events.append("told")
    events.append("close")


async def opened_async(inner: str = TaskiqDepends(opened)) -> AsyncGenerator[str]:
    events.append("open async")
    try:
        yield f"{inner} and an async one"
    except LookupError:
        events.append("told async")
        raise
    finally:
        events.append("close async")


async def test_functions_classes_and_generators_are_resolved_and_closed_in_reverse(any_broker: AsyncBroker) -> None:
    async def greet(
        name: str, greeter: Annotated[Greeter, TaskiqDepends()], text: str = TaskiqDepends(opened_async)
    ) -> list[str]:
        events.append("run")
        return [name, greeter.word, text]

    result = await outcome(any_broker.register_task(greet, task_name="greet"), "you")
    assert result.return_value == ["you", "hello", "hello from a generator and an async one"]
    assert events == ["open", "open async", "run", "close async", "close"]


async def test_a_function_in_a_thread_has_dependencies_too(any_broker: AsyncBroker) -> None:
    def greet(name: str, text: str = TaskiqDepends(opened)) -> list[str]:
        events.append("run")
        return [name, text]

    result = await outcome(any_broker.register_task(greet, task_name="greet"), name="you")
    assert result.return_value == ["you", "hello from a generator"]
    assert events == ["open", "run", "close"]


async def test_what_is_asked_for_twice_is_made_once_unless_it_is_not_to_be_cached(any_broker: AsyncBroker) -> None:
    def left(one: int = TaskiqDepends(number)) -> int:
        return one

    def right(one: int = TaskiqDepends(number)) -> int:
        return one

    async def compare(
        first: int = TaskiqDepends(left),
        second: int = TaskiqDepends(right),
        fresh: int = TaskiqDepends(number, use_cache=False),
    ) -> list[bool]:
        return [first == second, first == fresh]

    assert (await outcome(any_broker.register_task(compare, task_name="compare"))).return_value == [True, False]


async def test_each_run_has_dependencies_of_its_own(any_broker: AsyncBroker) -> None:
    async def take(one: int = TaskiqDepends(number)) -> int:
        return one

    task = any_broker.register_task(take, task_name="take")
    assert (await outcome(task)).return_value != (await outcome(task)).return_value


async def test_an_error_of_the_task_reaches_its_generators(any_broker: AsyncBroker) -> None:
    async def fail(text: str = TaskiqDepends(opened_async)) -> None:
        raise LookupError(text)

    result = await outcome(any_broker.register_task(fail, task_name="fail"))
    assert isinstance(result.error, LookupError)
    assert events == ["open", "open async", "told async", "close async", "told", "close"]


async def test_no_error_reaches_generators_where_the_worker_is_told_so(brokers: Brokers) -> None:
    async def fail(text: str = TaskiqDepends(opened)) -> None:
        raise LookupError(text)

    broker = brokers()
    task = broker.register_task(fail, task_name="fail")
    async with working(broker, propagate_exceptions=False):
        assert isinstance((await (await task.kiq()).wait_result(timeout=HANG)).error, LookupError)
    assert events == ["open", "close"]


async def test_an_error_in_a_dependency_fails_the_task_and_closes_what_was_open(any_broker: AsyncBroker) -> None:
    def broken(inner: str = TaskiqDepends(opened)) -> str:
        raise LookupError(inner)

    async def run(text: str = TaskiqDepends(broken)) -> str:
        events.append("run")
        return text

    result = await outcome(any_broker.register_task(run, task_name="run"))
    assert isinstance(result.error, LookupError)
    assert events == ["open", "told", "close"]


async def test_the_context_and_the_state_are_dependencies_of_tasks_and_of_dependencies(
    any_broker: AsyncBroker,
) -> None:
    def label(context: Context = TaskiqDepends()) -> str:
        return str(context.message.labels["colour"])

    async def describe(
        context: Context = TaskiqDepends(),
        state: TaskiqState = TaskiqDepends(),
        colour: str = TaskiqDepends(label),
    ) -> list[object]:
        assert context.broker is any_broker
        assert context.state is state
        return [context.message.task_id, context.message.task_name, state.pool, colour]

    any_broker.state.pool = "the pool"
    task = any_broker.register_task(describe, task_name="describe", colour="red")
    async with serving(any_broker):
        sent = await task.kicker().with_task_id("my-id").kiq()
        result = await sent.wait_result(check_interval=0.01, timeout=HANG)
    assert result.return_value == ["my-id", "describe", "the pool", "red"]


async def test_tasks_that_run_at_once_have_each_its_own_context(any_broker: AsyncBroker) -> None:
    all_run = asyncio.Barrier(20)

    async def later(context: Context = TaskiqDepends()) -> str:
        await all_run.wait()
        return context.message.task_id

    async def which(context: Context = TaskiqDepends(), also: str = TaskiqDepends(later)) -> list[str]:
        return [context.message.task_id, also]

    task = any_broker.register_task(which, task_name="which")
    async with serving(any_broker):
        sent = [await task.kiq() for _ in range(20)]
        results = [await one.wait_result(check_interval=0.01, timeout=HANG) for one in sent]
    assert [result.return_value for result in results] == [[one.task_id, one.task_id] for one in sent]


async def test_a_broker_gives_values_and_overrides_dependencies(any_broker: AsyncBroker) -> None:
    async def greet(greeter: Greeter = TaskiqDepends(), word: str = TaskiqDepends(greeting)) -> list[str]:
        return [greeter.word, word]

    any_broker.add_dependency_context({Greeter: Greeter("known")})
    any_broker.dependency_overrides[greeting] = lambda: "another"
    result = await outcome(any_broker.register_task(greet, task_name="greet"))
    assert result.return_value == ["known", "another"]
