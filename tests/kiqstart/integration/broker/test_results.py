import asyncio
import os
import pickle
import time
from pathlib import Path

import pytest
from pydantic import BaseModel, Field
from redis.asyncio import Redis
from taskiq import AsyncResultBackend, Context, TaskiqDepends, TaskiqMessage, TaskiqMiddleware, TaskiqResult
from taskiq.depends.progress_tracker import TaskProgress
from taskiq.exceptions import ResultGetError, TaskiqResultTimeoutError
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import QUICK, Brokers, letters_of, working
from tests.kiqstart.integration.broker.wire import Wire

from kiqstart.broker import result_waiter
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.results import UnserializableResultError
from kiqstart.tasks.bulk import BulkSendFailedError
from kiqstart.tasks.errors import InvalidTaskArgumentsError, WiringError
from kiqstart.tasks.registration import register_task
from kiqstart.testing import eventually


async def double(number: int = 1) -> int:
    return number * 2


class WeatherError(Exception):
    pass


class Gate:
    """A task that ends when it may."""

    def __init__(self) -> None:
        self.is_open = asyncio.Event()

    async def run(self) -> str:
        await self.is_open.wait()
        return "through"


async def test_whoever_waits_is_woken_and_hardly_asks(
    brokers: Brokers, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By a look of his own he would learn it too late.
    monkeypatch.setattr(result_waiter, "_SECONDS_BETWEEN_LOOKS", 1e6)
    caller, gate = brokers(url=wire.url), Gate()
    broker = brokers()
    register_task(broker, gate.run, name="gate")
    sent = await register_task(caller, gate.run, name="gate").kiq()
    async with working(broker):
        waiting = asyncio.create_task(sent.wait_result(timeout=HANG))
        await asyncio.wait({waiting}, timeout=0.5)
        gate.is_open.set()
        assert (await waiting).return_value == "through"
        # One look when it begins to wait, one when it is subscribed, one when it is woken.
        assert wire.count("EXISTS") <= 3


async def test_all_who_wait_for_one_task_get_its_result_over_one_subscription(brokers: Brokers, wire: Wire) -> None:
    caller, gate = brokers(url=wire.url), Gate()
    broker = brokers()
    register_task(broker, gate.run, name="gate")
    sent = await register_task(caller, gate.run, name="gate").kiq()
    async with working(broker):
        waiting = [asyncio.create_task(sent.wait_result(timeout=HANG)) for _ in range(2)]
        await asyncio.wait(waiting, timeout=0.1)
        gate.is_open.set()
        assert [(await one).return_value for one in waiting] == ["through"] * 2
    assert wire.count("SUBSCRIBE") == 1


async def test_three_thousand_wait_at_once_over_two_connections(redis_url: str, queue_name: str, redis: Redis) -> None:
    broker = StreamBroker(redis_url, queue_name=queue_name, result_ttl=600, client_name="waiters")
    task = register_task(broker, double, name="double")
    sent = await task.kiq_many(task.call(number=number) for number in range(3000))
    waiting = asyncio.gather(*(one.wait_result(timeout=HANG) for one in sent))

    async def subscriptions() -> list[str]:
        clients = await redis.client_list()
        return sorted(client["sub"] for client in clients if client["name"] == "waiters")

    async def all_listen() -> bool:
        return await subscriptions() == ["0", "3000"]

    await eventually(all_listen)
    async with working(broker):
        results = await waiting
    assert [result.return_value for result in results] == [number * 2 for number in range(3000)]


async def test_a_model_comes_back_by_the_names_of_its_fields(broker: StreamBroker) -> None:
    class Report(BaseModel):
        count: int = Field(alias="Count")

    async def report() -> Report:
        return Report(Count=3)

    async with working(broker):
        sent = await broker.register_task(report, task_name="report").kiq()
        await sent.wait_result(timeout=HANG)
        assert (await broker.result_backend.get_result(sent.task_id)).return_value == {"count": 3}


async def test_whoever_waits_too_long_is_told(broker: StreamBroker) -> None:
    sent = await register_task(broker, double, name="double").kiq()
    with pytest.raises(TaskiqResultTimeoutError):
        await sent.wait_result(timeout=0.1)


async def test_a_result_reaches_a_waiter_whose_connections_are_cut_meanwhile(brokers: Brokers, wire: Wire) -> None:
    caller, gate = brokers(url=wire.url), Gate()
    broker = brokers()
    register_task(broker, gate.run, name="gate")
    sent = await register_task(caller, gate.run, name="gate").kiq()
    async with working(broker):
        waiting = asyncio.create_task(sent.wait_result(timeout=HANG))
        await asyncio.wait({waiting}, timeout=0.1)
        wire.cut()
        gate.is_open.set()
        assert (await waiting).return_value == "through"


async def test_a_result_that_is_no_json_fails_its_task_with_an_error_that_says_so(broker: StreamBroker) -> None:
    async def give() -> object:
        return object()

    async with working(broker):
        sent = await register_task(broker, give, name="give").kiq()
        result = await sent.wait_result(timeout=HANG)
    assert isinstance(result.error, UnserializableResultError)
    assert "the task's result (object) cannot be sent as JSON" in str(result.error)


class Labelling(TaskiqMiddleware):
    """Sets a label where it is told to."""

    def __init__(self, hook: str, value: object) -> None:
        super().__init__()
        self._hook, self._value = hook, value

    def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        return self._labelled("pre_send", message)

    def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        return self._labelled("pre_execute", message)

    def _labelled(self, hook: str, message: TaskiqMessage) -> TaskiqMessage:
        if hook == self._hook:
            message.labels["seal"] = self._value
        return message


@pytest.mark.parametrize("where", ["the sender", "pre_execute", "the task"])
async def test_a_label_that_json_cannot_hold_spoils_no_result(
    broker: StreamBroker, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    seals: list[object] = []

    async def fail_once(context: Context = TaskiqDepends()) -> str:
        seals.append(context.message.labels.get("seal"))
        if where == "the task":
            context.message.labels["seal"] = b"\xff"
        if len(seals) == 1:
            raise LookupError
        return "good"

    broker.add_middlewares(Labelling(where, b"\xff"))
    task = register_task(broker, fail_once, name="fail_once", max_retries=1, retry_delay=0.0)
    kicker = task.kicker()
    if where == "the sender":
        kicker.labels["seal"] = b"\xff"
    async with working(broker):
        result = await (await kicker.kiq()).wait_result(timeout=HANG)
    assert (result.is_err, result.return_value) == (False, "good")
    assert seals[1] == b"\xff"
    assert caplog.text.count("its label seal is left out of its result: ") == 1


async def test_a_label_that_json_cannot_hold_is_refused_by_name_where_it_is_sent(broker: StreamBroker) -> None:
    broker.add_middlewares(Labelling("pre_send", b"\xff"))
    task = register_task(broker, double, name="double")
    with pytest.raises(
        InvalidTaskArgumentsError, match=r"^double: the label 'seal' cannot be sent as JSON: "
    ) as caught:
        await task.kiq()
    assert "\n" not in str(caught.value)
    with pytest.raises(BulkSendFailedError, match=r"^call 1: double: the label 'seal' cannot be sent as JSON: "):
        await task.kiq_many([task.call()])


async def test_an_error_comes_back_as_its_class_with_its_arguments(broker: StreamBroker, redis: Redis) -> None:
    async def fail() -> None:
        raise WeatherError("rain", 7)

    async with working(broker):
        sent = await register_task(broker, fail, name="fail").kiq()
        result = await sent.wait_result(timeout=HANG)
    assert type(result.error) is WeatherError
    assert result.error.args == ("rain", 7)
    assert str(await redis.get(broker.keys.result(sent.task_id))).startswith("{")
    assert await letters_of(redis, broker) == []


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


async def test_a_pickle_that_somebody_has_planted_is_never_loaded(
    broker: StreamBroker, redis: Redis, tmp_path: Path
) -> None:
    sent = await register_task(broker, double, name="double").kiq()
    await redis.set(broker.keys.result(sent.task_id), pickle.dumps(Bomb(tmp_path / "planted")))
    with pytest.raises(ResultGetError):
        await sent.wait_result(timeout=HANG)
    with pytest.raises(ResultGetError, match=f"the result of task {sent.task_id} cannot be read: it is no JSON"):
        await sent.get_result()
    assert not (tmp_path / "planted").exists()


@pytest.mark.parametrize(("ttl", "expected"), [(60.0, range(1, 60_001)), (None, range(-1, 0))])
async def test_results_are_kept_as_long_as_is_said(
    brokers: Brokers, redis: Redis, ttl: float | None, expected: range
) -> None:
    broker = brokers(result_ttl=ttl)
    async with working(broker):
        sent = await register_task(broker, double, name="double").kiq()
        await sent.wait_result(timeout=HANG)
    assert await redis.pttl(broker.keys.result(sent.task_id)) in expected


@pytest.mark.parametrize("ttl", [0, -1.0, 0.0001, float("nan"), float("inf"), 1e12])
def test_a_time_for_which_redis_can_keep_nothing_is_refused(brokers: Brokers, ttl: float) -> None:
    with pytest.raises(WiringError, match=r"write seconds, from 0\.001 to 315360000"):
        brokers(result_ttl=ttl)


async def test_progress_is_never_kept_for_ever_and_can_be_forgotten_with_its_result(
    brokers: Brokers, redis: Redis
) -> None:
    broker = brokers(result_ttl=None)
    async with working(broker):
        sent = await register_task(broker, double, name="double").kiq()
        await sent.wait_result(timeout=HANG)
        await broker.result_backend.set_progress(sent.task_id, TaskProgress(state="half", meta=float("inf")))
        progress = await sent.get_progress()
        assert progress is not None
        assert progress.meta == float("inf")
        assert await redis.pttl(broker.keys.progress(sent.task_id)) in range(1, 86_400_001)
        await sent.forget()
        assert await redis.exists(broker.keys.progress(sent.task_id), broker.keys.result(sent.task_id)) == 0


class Shelf(AsyncResultBackend[object]):
    """A result backend that fails at first."""

    def __init__(self, failures: int) -> None:
        self.results: dict[str, TaskiqResult[object]] = {}
        self.tries = 0
        self._failures = failures

    async def set_result(self, task_id: str, result: TaskiqResult[object]) -> None:
        self.tries += 1
        if self.tries <= self._failures:
            raise ConnectionError("no shelf")
        if isinstance(result.return_value, set):
            raise TypeError("sets do not fit on the shelf")
        if any(isinstance(label, bytes) for label in result.labels.values()):
            raise TypeError("bytes do not fit on the shelf")
        self.results[task_id] = result

    async def is_result_ready(self, task_id: str) -> bool:
        return task_id in self.results

    async def get_result(self, task_id: str, with_logs: bool = False) -> TaskiqResult[object]:  # noqa: ARG002
        return self.results[task_id]


async def test_another_result_backend_is_asked_again_until_it_stores(brokers: Brokers) -> None:
    shelf = Shelf(failures=2)
    broker = brokers().with_result_backend(shelf)
    async with working(broker):
        sent = await register_task(broker, double, name="double").kiq(number=4)
        assert (await sent.wait_result(check_interval=0.01, timeout=HANG)).return_value == 8
    assert shelf.tries == 3


async def test_what_another_result_backend_cannot_hold_fails_the_task_but_a_label_does_not(brokers: Brokers) -> None:
    broker = brokers(options=QUICK).with_result_backend(Shelf(failures=0))

    async def give() -> set[int]:
        return {1}

    async with working(broker):
        sent = await register_task(broker, give, name="give").kiq()
        result = await sent.wait_result(check_interval=0.01, timeout=HANG)
        kicker = register_task(broker, double, name="double").kicker()
        kicker.labels["seal"] = b"\xff"
        good = await (await kicker.kiq(number=2)).wait_result(check_interval=0.01, timeout=HANG)
    assert str(result.error) == "the task's result (set) cannot be stored: sets do not fit on the shelf"
    assert (good.is_err, good.return_value) == (False, 4)


async def test_another_result_backend_gets_a_long_chain_cut_short(brokers: Brokers) -> None:
    shelf = Shelf(failures=0)
    broker = brokers().with_result_backend(shelf)
    links = 25

    async def fail() -> None:
        error: Exception | None = None
        for number in range(links):
            linked, error = error, WeatherError(number)
            error.__context__ = linked
        raise error or WeatherError

    async with working(broker):
        sent = await register_task(broker, fail, name="fail").kiq()
        result = await sent.wait_result(check_interval=0.01, timeout=HANG)
    began_at = time.monotonic()
    written = result.model_dump_json()
    assert time.monotonic() - began_at < 5
    assert type(result.error) is WeatherError
    assert result.error.args == (links - 1,)
    assert written.count("WeatherError") == 5
