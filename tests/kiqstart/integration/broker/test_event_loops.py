"""Programs with many event loops, one after the other, and one broker: what stays open."""

import asyncio
import gc
import multiprocessing
import threading
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
import uvloop
from asgiref.sync import async_to_sync
from taskiq import TaskiqEvents, TaskiqState
from taskiq.exceptions import TaskiqResultTimeoutError
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.cancellation import CancelOutcome
from kiqstart.broker.options import StreamOptions
from kiqstart.scheduler.source import DurableScheduleSource
from kiqstart.tasks.errors import WiringError
from kiqstart.tasks.sync_runner import SyncRunner, sync

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
Send = Callable[[], Coroutine[Any, Any, object]]
TIMES = 30


async def note() -> None:
    """A task."""


@pytest.fixture
def sync_broker(redis_url: str, queue_name: str) -> StreamBroker:
    return Brokers(redis_url, queue_name)()


def run(send: Send, loop_factory: LoopFactory) -> None:
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(send())


def from_a_view(send: Send, loop_factory: LoopFactory) -> None:  # noqa: ARG001  # asgiref makes its own
    async_to_sync(send)()


def in_a_thread(send: Send, loop_factory: LoopFactory) -> None:
    thread = threading.Thread(target=run, args=(send, loop_factory))
    thread.start()
    thread.join()


def open_files(*, collect: bool = True) -> int:
    if collect:
        gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("way", [run, from_a_view, in_a_thread])
def test_a_loop_that_ends_takes_its_connections_along(
    sync_broker: StreamBroker, redis_url: str, way: Callable[[Send, LoopFactory], None], loop_factory: LoopFactory
) -> None:
    task = sync_broker.register_task(note, "note")

    async def send_and_look() -> None:
        sent = await task.kiq()
        assert not await sent.is_ready()
        assert await sync_broker.result_backend.get_progress(sent.task_id) is None
        await asyncio.wait({asyncio.create_task(sent.wait_result(timeout=HANG))}, timeout=0.01)

    way(send_and_look, loop_factory)
    with redis.Redis.from_url(redis_url) as observer:
        before = open_files()
        for _ in range(TIMES):
            way(send_and_look, loop_factory)
        # Not a file that stays, and no complaint: here, every warning is an error.
        assert open_files() <= before
        assert observer.xlen(sync_broker.keys.name) == TIMES + 1


# asyncio and uvloop complain of what such a program forgets.
@pytest.mark.filterwarnings("ignore:unclosed transport", "ignore:unclosed resource", "ignore:loop is closed")
@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_of_loops_that_are_just_closed_the_last_one_has_open_connections_at_most(
    sync_broker: StreamBroker, loop_factory: LoopFactory
) -> None:
    task = sync_broker.register_task(note, "note")

    def send() -> None:
        loop = loop_factory()
        loop.run_until_complete(task.kiq())
        loop.close()

    send()
    before = open_files(collect=False)
    gc.disable()
    try:
        for _ in range(TIMES):
            send()
        # The server's side is gone at once, and with it the file; the rest is left to Python.
        assert open_files(collect=False) <= before
    finally:
        gc.enable()
        run(task.kiq, loop_factory)
        gc.collect()


def test_a_loop_that_ends_in_the_middle_of_a_send_takes_its_connections_along(
    sync_broker: StreamBroker,
) -> None:
    task = sync_broker.register_task(note, "note")

    async def begin() -> None:
        sending = asyncio.create_task(task.kiq())
        await asyncio.sleep(0)
        sending.cancel()

    run(begin, asyncio.new_event_loop)
    before = open_files()
    for _ in range(TIMES):
        run(begin, asyncio.new_event_loop)
    assert open_files() <= before


def test_a_loop_that_ends_while_redis_is_away_ends_within_seconds(redis_url: str, queue_name: str) -> None:
    patient = StreamOptions(lease=1.0, send_deadline=1e6)
    away = Brokers(redis_url, queue_name)(url="redis://127.0.0.1:1/0", options=patient)
    task = away.register_task(note, "note")

    async def try_it() -> None:
        await asyncio.wait({asyncio.create_task(task.kiq())}, timeout=0.1)

    before = open_files()
    run(try_it, asyncio.new_event_loop)
    assert open_files() <= before + 2


def test_schedules_that_are_added_from_one_loop_after_the_other_leave_nothing_open(sync_broker: StreamBroker) -> None:
    task = sync_broker.register_task(note, "note")
    source = DurableScheduleSource(sync_broker)

    async def add() -> None:
        await task.kicker().with_schedule_id("again").schedule_by_interval(source, timedelta(hours=1))

    run(add, asyncio.new_event_loop)
    before = open_files()
    for _ in range(TIMES):
        run(add, asyncio.new_event_loop)
    assert open_files() <= before


def test_code_that_is_not_async_sends_through_one_loop_and_leaves_nothing(
    sync_broker: StreamBroker, redis_url: str
) -> None:
    task = sync_broker.register_task(note, "note")
    threads = [threading.Thread(target=lambda: run_sync(task.kiq())) for _ in range(5)]
    names = {thread.name for thread in threading.enumerate()}
    before = open_files()
    with sync(sync_broker) as run_sync:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        connections = open_files()
        for _ in range(TIMES - 1):
            run_sync(task.kiq())
        sent = run_sync(task.kiq())
        assert open_files() <= connections
        with pytest.raises(TaskiqResultTimeoutError):
            run_sync(sent.wait_result(timeout=0.01))
        assert run_sync(sync_broker.cancel(sent.task_id)) is CancelOutcome.WAITING
    assert open_files() <= before
    assert {thread.name for thread in threading.enumerate()} <= names
    with redis.Redis.from_url(redis_url) as observer:
        assert observer.xlen(sync_broker.keys.name) == TIMES + 4
    # It starts anew where it is called again.
    run_sync(task.kiq())
    run_sync.close()


async def test_where_an_event_loop_runs_the_call_is_awaited(sync_broker: StreamBroker) -> None:
    with SyncRunner(sync_broker) as run_sync, pytest.raises(RuntimeError, match="await the call there"):
        run_sync(note())


def test_a_fork_sends_through_a_loop_of_its_own(sync_broker: StreamBroker, redis_url: str) -> None:
    task = sync_broker.register_task(note, "note")
    with SyncRunner(sync_broker) as run_sync:
        run_sync(task.kiq())
        child = multiprocessing.get_context("fork").Process(target=lambda: run_sync(task.kiq()))
        child.start()
        child.join(20)
        assert child.exitcode == 0
        run_sync(task.kiq())
    with redis.Redis.from_url(redis_url) as observer:
        assert observer.xlen(sync_broker.keys.name) == 3


def test_a_broker_that_cannot_start_says_so_to_each_caller(sync_broker: StreamBroker) -> None:
    async def refuse(_: TaskiqState) -> None:
        raise WiringError("no")

    sync_broker.add_event_handler(TaskiqEvents.CLIENT_STARTUP, refuse)
    with SyncRunner(sync_broker) as run_sync:
        for _ in range(2):
            with pytest.raises(WiringError, match="no"):
                run_sync(note())
