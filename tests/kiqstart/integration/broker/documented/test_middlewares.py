from typing import Any

import pytest
from taskiq import AsyncBroker, InMemoryBroker, TaskiqMessage, TaskiqMiddleware, TaskiqResult
from tests.kiqstart.integration.broker.documented.serving import outcome, serving

Seen = list[tuple[str, str, object]]


class Hooks(TaskiqMiddleware):
    """Notes which hook is called, with what, and raises in the one that it is told."""

    def __init__(self, name: str, seen: Seen, *, raises_in: str = "") -> None:
        super().__init__()
        self.name = name
        self.seen = seen
        self.raises_in = raises_in

    def note(self, hook: str, value: object) -> None:
        self.seen.append((self.name, hook, value))
        if hook == self.raises_in:
            raise PermissionError(hook)

    def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        self.note("pre_send", message.args)
        return message.model_copy(update={"args": [*message.args, self.name]})

    def post_send(self, message: TaskiqMessage) -> None:
        self.note("post_send", message.args)

    def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        self.note("pre_execute", message.args)
        return message.model_copy(update={"args": [*message.args, self.name]})

    def on_error(self, message: TaskiqMessage, result: TaskiqResult[Any], exception: BaseException) -> None:
        assert result.is_err
        assert message.task_name == "speak"
        self.note("on_error", type(exception))

    def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        assert message.task_name == "speak"
        self.note("post_execute", result.return_value)

    def post_save(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        assert message.task_name == "speak"
        self.note("post_save", result.return_value)


class AsyncHooks(TaskiqMiddleware):
    """The same as coroutines."""

    def __init__(self, name: str, seen: Seen, *, raises_in: str = "") -> None:
        super().__init__()
        self.hooks = Hooks(name, seen, raises_in=raises_in)

    async def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        return self.hooks.pre_send(message)

    async def post_send(self, message: TaskiqMessage) -> None:
        self.hooks.post_send(message)

    async def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        return self.hooks.pre_execute(message)

    async def on_error(self, message: TaskiqMessage, result: TaskiqResult[Any], exception: BaseException) -> None:
        self.hooks.on_error(message, result, exception)

    async def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        self.hooks.post_execute(message, result)

    async def post_save(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        self.hooks.post_save(message, result)


async def speak(*words: str) -> str:
    return " ".join(words)


async def fail(*words: str) -> str:  # noqa: ARG001  # it gets what `speak` gets
    raise LookupError


def named(seen: Seen, *hooks: str) -> list[tuple[str, str, object]]:
    return [one for one in seen if one[1] in hooks]


async def test_hooks_are_called_in_their_order_with_what_the_others_have_made_of_it(any_broker: AsyncBroker) -> None:
    seen: Seen = []
    any_broker.add_middlewares(Hooks("a", seen), AsyncHooks("b", seen))
    result = await outcome(any_broker.register_task(speak, task_name="speak"), "hello")
    assert result.return_value == "hello a b a b"
    # Sending and running overlap: whoever sends is told of it while the task may already run.
    assert named(seen, "pre_send", "post_send") == [
        ("a", "pre_send", ["hello"]),
        ("b", "pre_send", ["hello", "a"]),
        ("b", "post_send", ["hello", "a", "b"]),
        ("a", "post_send", ["hello", "a", "b"]),
    ]
    assert named(seen, "pre_execute", "on_error", "post_execute", "post_save") == [
        ("a", "pre_execute", ["hello", "a", "b"]),
        ("b", "pre_execute", ["hello", "a", "b", "a"]),
        ("b", "post_execute", "hello a b a b"),
        ("a", "post_execute", "hello a b a b"),
        ("b", "post_save", "hello a b a b"),
        ("a", "post_save", "hello a b a b"),
    ]


async def test_an_error_is_told_before_the_end_of_its_task(any_broker: AsyncBroker) -> None:
    seen: Seen = []
    any_broker.add_middlewares(AsyncHooks("a", seen), Hooks("b", seen))
    result = await outcome(any_broker.register_task(fail, task_name="speak"))
    assert isinstance(result.error, LookupError)
    assert named(seen, "on_error", "post_execute", "post_save") == [
        ("b", "on_error", LookupError),
        ("a", "on_error", LookupError),
        ("b", "post_execute", None),
        ("a", "post_execute", None),
        ("b", "post_save", None),
        ("a", "post_save", None),
    ]


@pytest.mark.parametrize("kind", [Hooks, AsyncHooks])
async def test_a_hook_that_raises_before_a_send_prevents_it(
    any_broker: AsyncBroker, kind: type[Hooks] | type[AsyncHooks]
) -> None:
    seen: Seen = []
    any_broker.add_middlewares(kind("a", seen, raises_in="pre_send"))
    task = any_broker.register_task(speak, task_name="speak")
    async with serving(any_broker):
        with pytest.raises(PermissionError, match="pre_send"):
            await task.kiq("hello")
    assert [hook for _, hook, _ in seen] == ["pre_send"]


async def test_a_hook_that_raises_after_a_save_takes_nothing_from_the_result(any_broker: AsyncBroker) -> None:
    seen: Seen = []
    any_broker.add_middlewares(Hooks("a", seen), AsyncHooks("b", seen, raises_in="post_save"))
    result = await outcome(any_broker.register_task(speak, task_name="speak"), "hello")
    assert result.return_value == "hello a b a b"
    # With taskiq's own receiver the others are not told.
    is_taskiqs = type(any_broker) is InMemoryBroker
    assert [name for name, hook, _ in seen if hook == "post_save"] == (["b"] if is_taskiqs else ["b", "a"])


class Readers(TaskiqMiddleware):
    """Looks for the result that it is told of."""

    def __init__(self) -> None:
        super().__init__()
        self.is_there: list[bool] = []

    async def post_save(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:  # noqa: ARG002  # taskiq's hook
        self.is_there.append(await self.broker.result_backend.is_result_ready(message.task_id))


async def test_a_result_is_there_when_a_hook_is_told_of_it(any_broker: AsyncBroker) -> None:
    readers = Readers()
    any_broker.add_middlewares(readers)
    await outcome(any_broker.register_task(speak, task_name="speak"), "hello")
    assert readers.is_there == [True]


class Watch(TaskiqMiddleware):
    """Knows its broker."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[AsyncBroker] = []

    async def startup(self) -> None:
        self.started.append(self.broker)

    def shutdown(self) -> None:
        self.started.clear()


async def test_a_middleware_starts_and_ends_with_its_broker_and_knows_it(any_broker: AsyncBroker) -> None:
    watch = Watch()
    any_broker.add_middlewares(watch)
    async with serving(any_broker):
        assert watch.started == [any_broker]
    assert watch.started == []
