"""Middlewares whose hooks raise: a task that has not run is not lost, and one that has run has its outcome."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest
from redis.asyncio import Redis
from taskiq import NoResultError, TaskiqDepends, TaskiqMessage, TaskiqMiddleware, TaskiqResult
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, letters_of, working

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.cancellation import CancelOutcome
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.results import StreamResultBackend
from kiqstart.tasks.messages import with_labels
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.results.errors import TaskCancelledError
from kiqstart.testing import eventually

ODD_ERRORS = [asyncio.CancelledError(), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), NoResultError()]


class Failing(TaskiqMiddleware):
    """Raises an error in one hook, as often as it is told, and notes which of its other hooks were called.

    Args:
        hook: the one that raises.
        error: what it raises.
        times: how often.
    """

    def __init__(self, hook: str, error: BaseException, times: int = 1000) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.errors: list[BaseException] = []
        self._hook = hook
        self._error = error
        self._left = times

    async def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        self.note("pre_execute")
        return message

    async def on_error(self, message: TaskiqMessage, result: TaskiqResult[Any], exception: BaseException) -> None:  # noqa: ARG002
        self.errors.append(exception)
        self.note("on_error")

    def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:  # noqa: ARG002
        self.note("post_execute")

    async def post_save(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:  # noqa: ARG002
        self.note("post_save")

    def note(self, hook: str) -> None:
        self.seen.append(hook)
        if hook == self._hook and self._left > 0:
            self._left -= 1
            raise self._error


class Runs:
    """A task, and how often it has run."""

    def __init__(self) -> None:
        self.count = 0

    async def pay(self) -> str:
        self.count += 1
        return "paid"

    async def fail(self) -> str:
        self.count += 1
        raise LookupError("no such account")


async def is_empty(redis: Redis, broker: StreamBroker) -> bool:
    return not any([await redis.xlen(stream) for stream in broker.keys.streams("default")])


async def test_a_task_before_which_a_hook_raises_is_retried_until_it_runs(broker: StreamBroker, redis: Redis) -> None:
    failing, runs = Failing("pre_execute", ConnectionError("the database is away"), times=2), Runs()
    broker.add_middlewares(failing)
    task = register_task(broker, runs.pay, name="pay", max_retries=3, retry_delay=0)
    async with working(broker):
        sent = await task.kiq()
        assert (await sent.wait_result(timeout=HANG)).return_value == "paid"
    assert runs.count == 1
    assert [str(error) for error in failing.errors] == ["the database is away"] * 2
    assert await letters_of(redis, broker) == []


@pytest.mark.parametrize(
    ("max_retries", "retry_on"),
    [(0, (Exception,)), (1, (Exception,)), (5, (LookupError,))],
    ids=["none", "spent", "other"],
)
async def test_a_task_before_which_a_hook_raises_is_a_dead_letter_after_its_last_try(
    broker: StreamBroker, redis: Redis, max_retries: int, retry_on: tuple[type[Exception], ...]
) -> None:
    runs, error = Runs(), ConnectionError("the database is away")
    broker.add_middlewares(Failing("pre_execute", error))
    task = register_task(broker, runs.pay, name="pay", max_retries=max_retries, retry_delay=0, retry_on=retry_on)
    async with working(broker):
        sent = await task.kiq()
        result = await sent.wait_result(timeout=HANG)
        assert isinstance(result.error, ConnectionError)
    assert runs.count == 0
    (letter,) = await letters_of(redis, broker)
    assert letter["reason"] == "middleware-failed"
    assert letter["detail"].startswith("Traceback")
    assert letter["detail"].endswith("ConnectionError: the database is away\n")
    assert broker.formatter.loads(letter["data"].encode()).task_id == sent.task_id
    assert await is_empty(redis, broker)


async def test_such_a_dead_letter_runs_when_it_is_sent_again(broker: StreamBroker) -> None:
    runs = Runs()
    broker.add_middlewares(Failing("pre_execute", ConnectionError("away"), times=1))
    task = register_task(broker, runs.pay, name="pay")
    async with working(broker):
        sent = await task.kiq()
        assert (await sent.wait_result(timeout=HANG)).is_err
        (letter,) = await broker.dead_letters.list()
        await broker.dead_letters.retry(letter.id)
        assert (await sent.wait_result(timeout=HANG)).return_value == "paid"
    assert runs.count == 1


@pytest.mark.parametrize("error", ODD_ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("ack_type", ["when_received", "when_executed", "when_saved", "manual"])
async def test_whatever_a_hook_raises_before_a_task_the_task_is_a_dead_letter_and_its_worker_lives(
    broker: StreamBroker, redis: Redis, error: BaseException, ack_type: str
) -> None:
    runs = Runs()
    broker.add_middlewares(Failing("pre_execute", error, times=1))
    task = register_task(broker, runs.pay, name="pay")
    async with working(broker):
        sent = await task.kicker().with_labels(ack_type=ack_type).kiq()
        assert (await sent.wait_result(timeout=HANG)).is_err
        assert (await (await task.kiq()).wait_result(timeout=HANG)).return_value == "paid"
    assert [letter["reason"] for letter in await letters_of(redis, broker)] == ["middleware-failed"]
    assert await is_empty(redis, broker)


async def test_a_hook_that_gives_no_message_fails_the_task(broker: StreamBroker, redis: Redis) -> None:
    class Forgetful(TaskiqMiddleware):
        async def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:  # noqa: ARG002
            return cast("TaskiqMessage", None)

    broker.add_middlewares(Forgetful())
    async with working(broker):
        sent = await register_task(broker, Runs().pay, name="pay").kiq()
        assert "Forgetful.pre_execute has to return a message" in str((await sent.wait_result(timeout=HANG)).error)
    assert [letter["reason"] for letter in await letters_of(redis, broker)] == ["middleware-failed"]


@pytest.mark.parametrize("error", [PermissionError("no"), *ODD_ERRORS], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("hook", ["post_execute", "post_save"])
async def test_a_hook_that_raises_after_a_task_changes_nothing_and_the_others_hear_of_it(
    broker: StreamBroker, redis: Redis, caplog: pytest.LogCaptureFixture, hook: str, error: BaseException
) -> None:
    runs, other = Runs(), Failing("", error)
    # Hooks after a run are called from the last middleware to the first.
    broker.add_middlewares(other, Failing(hook, error))
    async with working(broker):
        sent = await register_task(broker, runs.pay, name="pay", max_retries=3, retry_delay=0).kiq()
        assert (await sent.wait_result(timeout=HANG)).return_value == "paid"
    assert runs.count == 1
    assert other.seen == ["pre_execute", "post_execute", "post_save"]
    assert await is_empty(redis, broker)
    (record,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert record.getMessage() == f"Task pay with id {sent.task_id} has run, then Failing.{hook} of a middleware failed"


async def test_a_hook_that_raises_when_told_of_an_error_leaves_the_retry_of_another(broker: StreamBroker) -> None:
    runs = Runs()
    broker.add_middlewares(Failing("on_error", PermissionError("no")))
    async with working(broker):
        sent = await register_task(broker, runs.fail, name="fail", max_retries=2, retry_delay=0).kiq()
        result = await sent.wait_result(timeout=HANG)
    assert isinstance(result.error, LookupError)
    assert runs.count == 3


async def test_a_retry_of_a_hook_that_then_fails_is_made_and_its_caller_gets_one_result(broker: StreamBroker) -> None:
    runs, results = Runs(), list[str]()

    class Halfway(TaskiqMiddleware):
        async def on_error(self, message: TaskiqMessage, result: TaskiqResult[Any], exception: BaseException) -> None:  # noqa: ARG002
            if runs.count == 1:
                await broker.retry(broker.formatter.dumps(with_labels(message, {})), 0.3)
                raise PermissionError("before the error was taken out of the result")

    async def pay_second() -> str:
        await runs.pay()
        if runs.count == 1:
            raise LookupError("the first")
        return "paid"

    broker.add_middlewares(Halfway())
    async with working(broker):
        sent = await register_task(broker, pay_second, name="pay").kiq()
        results.append((await sent.wait_result(timeout=HANG)).return_value)
    assert (results, runs.count) == (["paid"], 2)


async def test_a_result_that_another_backend_refuses_ends_its_task_all_the_same(
    brokers: Brokers, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    class Refusing(StreamResultBackend[Any]):
        async def set_result(self, task_id: str, result: TaskiqResult[Any]) -> None:  # noqa: ARG002
            raise SystemExit("not today")

    broker, runs = brokers(), Runs()
    broker.result_backend = Refusing.__new__(Refusing)
    async with working(broker):
        sent = await register_task(broker, runs.pay, name="pay").kiq()

        async def has_ended() -> bool:
            return runs.count == 1 and await is_empty(redis, broker)

        await eventually(has_ended)
    assert f"Can't set result in result backend: task pay, id {sent.task_id}" in caplog.messages


async def test_a_dependency_that_fails_at_its_end_fails_the_task(broker: StreamBroker) -> None:
    runs = Runs()

    async def transaction() -> AsyncGenerator[str]:
        yield "open"
        if runs.count == 1:
            raise ConnectionError("cannot commit")

    async def pay(state: str = TaskiqDepends(transaction)) -> str:
        await runs.pay()
        return state

    async with working(broker):
        sent = await register_task(broker, pay, name="pay", max_retries=1, retry_delay=0).kiq()
        assert (await sent.wait_result(timeout=HANG)).return_value == "open"
    assert runs.count == 2


# -- Hooks that hang


class Hanging(TaskiqMiddleware):
    """Never comes back out of one hook."""

    def __init__(self, hook: str) -> None:
        super().__init__()
        self.hangs = asyncio.Event()
        self._hook = hook

    async def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        await self._hang("pre_execute")
        return message

    async def on_error(self, message: TaskiqMessage, result: TaskiqResult[Any], exception: BaseException) -> None:  # noqa: ARG002
        await self._hang("on_error")

    async def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:  # noqa: ARG002
        await self._hang("post_execute")

    async def post_save(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:  # noqa: ARG002
        await self._hang("post_save")

    async def _hang(self, hook: str) -> None:
        if hook == self._hook:
            self.hangs.set()
            await asyncio.Event().wait()


HOOKS = ["pre_execute", "on_error", "post_execute", "post_save"]


@pytest.mark.parametrize("hook", HOOKS)
async def test_a_hook_that_hangs_is_cut_off_and_the_task_has_its_end(
    brokers: Brokers, redis: Redis, caplog: pytest.LogCaptureFixture, hook: str
) -> None:
    broker, runs = brokers(options=StreamOptions(lease=1.0, hook_timeout=0.2)), Runs()
    broker.add_middlewares(Hanging(hook))
    async with working(broker):
        sent = await register_task(broker, runs.fail if hook == "on_error" else runs.pay, name="pay").kiq()
        result = await sent.wait_result(timeout=HANG)
        await eventually(lambda: is_empty(redis, broker))
    wanted = {"pre_execute": TimeoutError, "on_error": LookupError}.get(hook, type(None))
    assert isinstance(result.error, wanted)
    assert f"Hanging.{hook} of a middleware was cut off after 0.2 s" in caplog.text
    letters = await letters_of(redis, broker)
    assert [letter["reason"] for letter in letters] == ["middleware-failed"] * (hook == "pre_execute")


@pytest.mark.parametrize("hook", HOOKS)
async def test_a_task_whose_hook_hangs_can_be_cancelled(brokers: Brokers, redis: Redis, hook: str) -> None:
    broker = brokers(options=StreamOptions(lease=1.0, hook_timeout=1.0 if hook == "post_save" else 60.0))
    hanging, runs = Hanging(hook), Runs()
    broker.add_middlewares(hanging)
    function = runs.fail if hook == "on_error" else runs.pay
    async with working(broker):
        sent = await register_task(broker, function, name="pay", max_retries=3, retry_delay=0).kiq()
        await hanging.hangs.wait()
        is_stored = hook == "post_save"
        assert await broker.cancel(sent.task_id) == (CancelOutcome.ENDED if is_stored else CancelOutcome.RUNNING)
        result = await sent.wait_result(timeout=HANG)
        assert (result.return_value, type(result.error)) == (
            ("paid", type(None)) if is_stored else (None, TaskCancelledError)
        )
        await eventually(lambda: is_empty(redis, broker))
        assert not await redis.exists(broker.keys.cancelled, broker.keys.delayed)
    assert runs.count == (0 if hook == "pre_execute" else 1)
