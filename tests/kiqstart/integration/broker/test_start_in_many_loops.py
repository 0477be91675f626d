"""A broker that checks Redis when it starts, started in several event loops and processes."""

import asyncio
import multiprocessing
from collections.abc import Callable, Generator

import pytest
import redis
from pydantic import SecretStr
from taskiq import AsyncBroker, InMemoryBroker, TaskiqEvents, TaskiqState
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.one_worker import one_worker

from kiqstart.broker import RedisSettings, TasksSettings, create_broker
from kiqstart.broker.broker import StreamBroker
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.sync_runner import sync


@pytest.fixture
def checked_broker(redis_url: str, key_prefix: str) -> AsyncBroker:
    settings = RedisSettings.model_construct(redis_url=SecretStr(redis_url), redis_connect_timeout=5.0)
    broker = create_broker(settings, TasksSettings(key_prefix=key_prefix))
    broker.register_task(note, "note")
    return broker


@pytest.fixture
def count_sent(redis_url: str, key_prefix: str) -> Generator[Callable[[], int]]:
    with redis.Redis.from_url(redis_url) as observer:
        yield lambda: observer.xlen(f"{{{key_prefix}}}:tasks")


async def note() -> None:
    """A task."""


async def send(broker: AsyncBroker) -> None:
    task = broker.find_task("note")
    assert task is not None
    await task.kiq()


async def start_and_send(broker: AsyncBroker) -> None:
    await broker.startup()
    await send(broker)


def exit_code_in_a_fork(call: Callable[[], None]) -> int | None:
    child = multiprocessing.get_context("fork").Process(target=call)
    child.start()
    child.join(20)
    return child.exitcode


def test_it_starts_in_one_loop_after_the_other(checked_broker: AsyncBroker, count_sent: Callable[[], int]) -> None:
    for _ in range(3):
        asyncio.run(start_and_send(checked_broker))
    assert count_sent() == 3


def test_it_starts_in_a_fork_while_the_loop_of_the_parent_lives(
    checked_broker: AsyncBroker, count_sent: Callable[[], int]
) -> None:
    with asyncio.Runner() as parent:
        parent.run(start_and_send(checked_broker))
        assert exit_code_in_a_fork(lambda: asyncio.run(start_and_send(checked_broker))) == 0
        parent.run(start_and_send(checked_broker))
        parent.run(checked_broker.shutdown())
    assert count_sent() == 3


def test_each_fork_has_a_runner_of_its_own(checked_broker: AsyncBroker, count_sent: Callable[[], int]) -> None:
    with sync(checked_broker) as run:
        run(send(checked_broker))
        codes = [exit_code_in_a_fork(lambda: run(send(checked_broker))) for _ in range(2)]
        assert codes == [0, 0]
        run(send(checked_broker))
    assert count_sent() == 4


def test_a_second_runner_of_the_same_broker_leaves_the_first_alone(
    checked_broker: AsyncBroker, count_sent: Callable[[], int]
) -> None:
    with sync(checked_broker) as one:
        one(send(checked_broker))
        with sync(checked_broker) as other:
            other(send(checked_broker))
        one(send(checked_broker))
        one(checked_broker.startup())
    assert count_sent() == 3


async def test_a_task_may_use_a_runner_and_its_worker_works_on(broker: StreamBroker) -> None:
    register_task(broker, note, name="note")

    def send_another() -> None:
        with sync(broker) as run:
            run(send(broker))

    sends = register_task(broker, send_another, name="send")
    async with one_worker(broker):
        for _ in range(2):
            await (await sends.kiq()).result(timeout=HANG)


def heard_broker() -> tuple[AsyncBroker, list[str]]:
    """One that runs tasks itself, and which of its events have happened."""
    broker, events = InMemoryBroker(), list[str]()

    def hear(name: str) -> Callable[[TaskiqState], None]:
        return lambda _: events.append(name)

    for event in TaskiqEvents:
        broker.add_event_handler(event, hear(event.name))
    return broker, events


def test_runners_of_one_broker_start_it_once_and_the_last_one_stops_it() -> None:
    broker, events = heard_broker()
    with sync(broker) as one:
        one(note())
        with sync(broker) as other:
            other(note())
        one(note())
        assert events == ["CLIENT_STARTUP", "WORKER_STARTUP"]
    assert events == ["CLIENT_STARTUP", "WORKER_STARTUP", "CLIENT_SHUTDOWN", "WORKER_SHUTDOWN"]


def test_in_a_worker_a_runner_neither_starts_nor_stops_the_broker() -> None:
    broker, events = heard_broker()
    broker.is_worker_process = True
    with sync(broker) as run:
        run(note())
    assert events == []
