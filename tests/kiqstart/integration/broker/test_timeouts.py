import asyncio
import threading
import time
from contextlib import suppress

import pytest
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, working

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.options import StreamOptions
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.results.errors import TaskCancelledError
from kiqstart.testing import eventually

# With a beat each tenth of a second.
IMPATIENT = StreamOptions(lease=1.0, overrun_grace=0.1)


async def test_an_async_task_ends_at_its_time_out_and_has_failed(broker: StreamBroker) -> None:
    was_cancelled = asyncio.Event()

    async def wait() -> None:
        with suppress(TimeoutError):
            try:
                await asyncio.Event().wait()
            finally:
                was_cancelled.set()

    async with working(broker):
        result = await (await register_task(broker, wait, name="wait", timeout=0.1).kiq()).wait_result(timeout=HANG)
    assert isinstance(result.error, TimeoutError)
    assert was_cancelled.is_set()


async def test_a_clean_up_runs_to_its_end_after_the_time_out(broker: StreamBroker) -> None:
    cleaned_up: list[str] = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for step in ("one", "two"):
                await asyncio.sleep(0.05)
                cleaned_up.append(step)

    async with working(broker):
        sent = await register_task(broker, wait, name="wait", timeout=0.1).kiq()
        error = (await sent.wait_result(timeout=HANG)).error
    assert cleaned_up == ["one", "two"]
    assert isinstance(error, TimeoutError)
    assert str(error) == "task wait ran longer than its time-out of 0.1 s"


async def test_a_task_that_swallows_its_time_out_is_cancelled_once_and_has_failed(broker: StreamBroker) -> None:
    cancelled: list[int] = []

    async def go_on() -> str:
        for _ in range(2):
            try:
                await asyncio.sleep(0.2)
            except asyncio.CancelledError:
                cancelled.append(1)
        return "done"

    async with working(broker):
        sent = await register_task(broker, go_on, name="go_on", timeout=0.1).kiq()
        result = await sent.wait_result(timeout=HANG)
    assert isinstance(result.error, TimeoutError)
    assert cancelled == [1]


async def test_a_task_that_is_cancelled_while_it_cleans_up_after_its_time_out_ends(broker: StreamBroker) -> None:
    cleans_up = asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleans_up.set()
            await asyncio.Event().wait()

    async with working(broker):
        sent = await register_task(broker, hang, name="hang", timeout=0.1).kiq()
        await asyncio.wait_for(cleans_up.wait(), HANG)
        await broker.cancel(sent.task_id)
        assert isinstance((await sent.wait_result(timeout=HANG)).error, TaskCancelledError)


async def test_a_task_that_blocks_the_event_loop_beyond_its_time_out_is_reported_while_it_does(
    brokers: Brokers, caplog: pytest.LogCaptureFixture
) -> None:
    reports: list[int] = []
    broker = brokers(options=IMPATIENT)

    async def block() -> None:
        deadline = time.monotonic() + HANG
        while not reports and time.monotonic() < deadline:
            time.sleep(0.02)  # noqa: ASYNC251  # the point
            reports.extend(1 for message in caplog.messages if message.startswith(f"Task block with id {sent.task_id}"))

    task = register_task(broker, block, name="block", timeout=0.1)
    sent = await task.kiq()
    async with working(broker):
        await sent.wait_result(timeout=HANG)
    (report,) = [message for message in caplog.messages if "still runs" in message]
    assert report.endswith("after its time-out of 0.1 s: it blocks the event loop or a thread, or cleans up")
    assert reports


async def test_a_function_that_goes_on_in_its_thread_after_its_time_out_is_reported_once(
    brokers: Brokers, caplog: pytest.LogCaptureFixture
) -> None:
    may_end = threading.Event()
    broker = brokers(options=IMPATIENT)

    def block() -> None:
        may_end.wait(HANG)

    async def is_reported() -> bool:
        return any("still runs" in message for message in caplog.messages)

    async with working(broker):
        sent = await broker.register_task(block, task_name="block", timeout=0.1).kiq()
        assert isinstance((await sent.wait_result(timeout=HANG)).error, TimeoutError)
        await eventually(is_reported)
        # Some beats later it is not said again.
        await asyncio.wait({asyncio.create_task(asyncio.to_thread(may_end.wait, 0.3))})
        may_end.set()
    assert sum("still runs" in message for message in caplog.messages) == 1


async def test_a_task_within_its_time_is_not_reported(brokers: Brokers, caplog: pytest.LogCaptureFixture) -> None:
    broker = brokers(options=IMPATIENT)

    async def run() -> None:
        await asyncio.sleep(0.4)

    async with working(broker):
        await (await register_task(broker, run, name="run", timeout=5).kiq()).wait_result(timeout=HANG)
    assert not any("still runs" in message for message in caplog.messages)
