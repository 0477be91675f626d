"""A probe turns red for what a process cannot do any more, names it, and turns red for nothing else."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis
from tests.kiqstart.integration.broker.brokers import Brokers, working
from tests.kiqstart.integration.broker.wire import wire_to

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.consumer import StreamConsumer
from kiqstart.broker.delivery import Delivery
from kiqstart.metrics import duties, health
from kiqstart.metrics.duties import TakesTasks, Ticks
from kiqstart.metrics.health import Duty, Finding, Health, report
from kiqstart.scheduler.source import DurableScheduleSource
from kiqstart.tasks.registration import register_task
from kiqstart.testing import eventually

SHORT = 1.5


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second and a half in place of 15, which is too long for a test."""
    for module in (health, duties):
        monkeypatch.setattr(module, "SECONDS_UNTIL_FOUND", SHORT)
    monkeypatch.setattr(health, "_SECONDS_BETWEEN_LOOKS", 0.05)
    monkeypatch.setattr(health, "_SECONDS_OF_A_BUSY_LOOP", SHORT / 2)


@pytest.fixture
def loop() -> Generator[asyncio.AbstractEventLoop]:
    """An event loop that turns in a thread of its own."""
    made = asyncio.new_event_loop()
    thread = threading.Thread(target=made.run_forever)
    thread.start()
    yield made
    made.call_soon_threadsafe(made.stop)
    thread.join()
    made.close()


class Idle:
    """There is nothing that it should do."""

    async def look(self) -> None: ...

    def begin_anew(self) -> None: ...

    def finding(self) -> Finding | None:
        return None


@asynccontextmanager
async def watched(
    broker: StreamBroker, duty: Duty, loop: asyncio.AbstractEventLoop | None = None
) -> AsyncGenerator[Health]:
    made = Health(broker, loop or asyncio.get_running_loop(), duty)
    watching = asyncio.create_task(made.watch())
    yield made
    watching.cancel()
    await asyncio.wait({watching})


async def turns(found: Health, *checks: str) -> list[Finding]:
    """Wait until these are the findings."""

    async def are_found() -> bool:
        return [one.check for one in found.findings()] == list(checks)

    await eventually(are_found)
    return found.findings()


async def test_a_blocked_loop_is_found_and_forgiven(brokers: Brokers, loop: asyncio.AbstractEventLoop) -> None:
    async with watched(brokers(), Idle(), loop) as found:
        await turns(found)
        go_on = threading.Event()
        loop.call_soon_threadsafe(go_on.wait)
        try:
            [finding] = await turns(found, "loop")
            assert finding.text.startswith("the event loop has been blocked for ")
            assert report([finding], is_live=True)[0] == 503
        finally:
            go_on.set()
        await turns(found)


async def test_a_lost_connection_is_found_and_no_reason_to_start_anew(brokers: Brokers, redis_url: str) -> None:
    async with wire_to(redis_url) as wire, watched(brokers(url=wire.url), Idle()) as found:
        await turns(found)
        wire.is_down = True
        wire.cut()
        [finding] = await turns(found, "redis")
        assert "has not answered for" in finding.text
        status, said = report([finding], is_live=True)
        assert (status, said["status"], said["reasons"]) == (200, "ok", [])
        assert said["notes"] == [{"check": "redis", "text": finding.text}]
        assert report([finding], is_live=False)[0] == 503
        wire.is_down = False
        await turns(found)


async def work() -> None: ...


async def test_a_worker_that_takes_nothing_though_tasks_wait_is_found(
    brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker, sender = brokers(), brokers()
    task = register_task(sender, work, name="work")
    register_task(broker, work, name="work")
    stuck = asyncio.Event()

    async def take_nothing(_: StreamConsumer, __: int) -> list[Delivery]:
        await stuck.wait()
        return []

    async with watched(broker, TakesTasks(broker)) as found:
        assert [one.check for one in found.findings()] == ["starting"]
        assert report(found.findings(), is_live=True)[0] == 200
        with monkeypatch.context() as patch:
            patch.setattr(StreamConsumer, "fetch", take_nothing)
            async with working(broker):
                await turns(found)
                await task.kiq()
                [finding] = await turns(found, "taking")
                assert "though tasks wait in 'default' and slots are free" in finding.text
                assert report([finding], is_live=True)[0] == 503
                await sender.connection.redis.delete(sender.keys.name)
                await turns(found)
                stuck.set()


async def stays_well(found: Health) -> None:
    """Nothing is found for longer than a finding takes."""
    until = time.monotonic() + SHORT * 1.5
    while time.monotonic() < until:
        assert found.findings() == []
        await asyncio.sleep(0.02)


async def test_a_worker_that_is_full_or_whose_queue_is_paused_is_well(brokers: Brokers, redis: Redis) -> None:
    broker, sender = brokers(), brokers()
    go_on = asyncio.Event()

    async def wait() -> None:
        await go_on.wait()

    task = register_task(sender, wait, name="wait")
    register_task(broker, wait, name="wait")
    async with watched(broker, TakesTasks(broker)) as found, working(broker, max_async_tasks=1):
        for _ in range(3):
            await task.kiq()
        await stays_well(found)
        await redis.hset(broker.keys.paused, f"queue:{broker.keys.name}", "{}")
        go_on.set()
        await stays_well(found)
        # Its own queue is empty; another one is not its.
        await redis.xadd(broker.keys.stream("another"), {"data": "x"})
        await stays_well(found)
        await redis.delete(broker.keys.paused)

        async def all_have_ended() -> bool:
            return await redis.xlen(broker.keys.name) == 0

        await eventually(all_have_ended)


async def test_a_scheduler_that_does_not_look_is_found(brokers: Brokers) -> None:
    broker = brokers()
    broker.is_scheduler_process = True
    source = DurableScheduleSource(broker)
    async with watched(broker, Ticks([source])) as found:
        assert [one.check for one in found.findings()] == ["starting"]
        await source.startup()

        async def has_looked() -> bool:
            return source.ticked_at is not None

        await eventually(has_looked)
        # A busy machine may take as long for a look as a finding takes here.
        found_at_once = [one.check for one in found.findings()]
        assert found_at_once in ([], ["tick"])
        await source.shutdown()
        [finding] = await turns(found, "tick")
        assert finding.text.startswith("this scheduler has not polled for what is due for ")
        assert report([finding], is_live=True)[0] == 503


async def test_a_machine_that_stood_still_is_well(brokers: Brokers, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Health(brokers(), asyncio.get_running_loop(), Idle())
    monkeypatch.setattr(health, "_SECONDS_OF_A_STANDSTILL", SHORT / 2)
    await asyncio.sleep(SHORT * 1.2)
    assert made.findings() == []
