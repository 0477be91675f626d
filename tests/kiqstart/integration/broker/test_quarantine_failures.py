"""What a worker does where no process for suspects can be started, and when one dies."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, working
from tests.kiqstart.integration.broker.test_quarantine import make_suspects

from kiqstart.broker.fetcher import SuspectRule
from kiqstart.broker.quarantine import quarantine, ward_process
from kiqstart.broker.quarantine.quarantine import Quarantine
from kiqstart.broker.quarantine.ward_orders import WardOrders
from kiqstart.broker.quarantine.ward_process import WardProcess
from kiqstart.testing import eventually

STAND_IN = "tests.kiqstart.integration.broker.apps.dying_ward"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "_FIRST_PAUSE", 0.01)


@dataclass(kw_only=True)
class Worker:
    """What a quarantine needs of one."""

    suspects: int = 1
    outages: int = 0
    rules: list[SuspectRule] = field(default_factory=list)
    testimonies: list[str] = field(default_factory=list)
    loss: int = 0

    def take_suspects(self, rule: SuspectRule) -> None:
        self.rules.append(rule)

    async def count_suspects(self) -> int:
        return self.suspects

    async def claim_quarantine(self, seconds: float) -> bool:
        return seconds > 0

    async def testify(self, worker: str, loss: int) -> bool:  # noqa: ARG002  # there are none
        if self.outages:
            self.outages -= 1
            raise RedisConnectionError("away")
        self.testimonies.append(worker)
        self.suspects = 0
        return True


def orders(place: str = "no_such_service:broker") -> WardOrders:
    return WardOrders(
        place=place,
        queue="queue",
        path=list(sys.path),
        modules=[],
        tasks=[],
        receiver={},
        name="ward",
        log_level=20,
        log_format=None,
    )


async def has_rule(worker: Worker, rule: SuspectRule) -> None:
    async def is_set() -> bool:
        return worker.rules[-1:] == [rule]

    await eventually(is_set)


async def test_where_processes_cannot_start_suspects_run_one_by_one_beside_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker = Worker()
    guarded = Quarantine(worker, orders)
    guarded.on_suspects()
    assert worker.rules == [SuspectRule.NONE]
    await has_rule(worker, SuspectRule.ONE)
    guarded.on_suspects()
    assert worker.rules[-1] is SuspectRule.ONE
    assert "for 300 s they run one by one beside others: the last one ended with exit code 1" in caplog.text
    await guarded.stop()


async def test_a_process_that_misses_a_task_does_not_start(
    redis_url: str, queue_name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("QUEUE_NAME", queue_name)
    known = orders("tests.kiqstart.integration.broker.apps.quarantine:broker")
    ward = WardProcess(replace(known, queue=queue_name, tasks=["nap", "unheard-of"]))
    end = await ward.end
    assert (end.code, end.worker, end.is_announced) == (1, None, False)
    assert "does not have all tasks in a new process: 'unheard-of' is missing" in capfd.readouterr().err


async def test_after_a_while_it_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "_SECONDS_WITHOUT", 0.0)
    monkeypatch.setattr(quarantine, "_MOST_BAD_STARTS", 1)
    worker = Worker()
    guarded = Quarantine(worker, orders)
    guarded.on_suspects()
    await has_rule(worker, SuspectRule.ONE)
    guarded.on_suspects()
    await has_rule(worker, SuspectRule.NONE)
    await guarded.stop()


async def test_a_broker_that_no_module_holds_runs_suspects_beside_others(caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker()
    guarded = Quarantine(worker, lambda: None)
    guarded.on_suspects()
    await has_rule(worker, SuspectRule.ONE)
    assert "no module holds this broker" in caplog.text
    await guarded.stop()


async def test_without_suspects_of_its_own_queues_nothing_is_started(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    worker = Worker(suspects=0)
    guarded = Quarantine(worker, orders)
    guarded.on_suspects()
    await guarded.stop()
    assert not caplog.records


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let a program run in place of the ward, that does what the test says."""

    def choose(what: str) -> None:
        monkeypatch.setattr(ward_process, "_WARD", STAND_IN)
        monkeypatch.setenv("DYING_WARD", what)

    return choose


async def test_a_worker_testifies_for_the_last_name_through_an_outage(dying: Callable[[str], None]) -> None:
    dying("renamed")
    worker = Worker(outages=2)
    guarded = Quarantine(worker, orders)
    guarded.on_suspects()

    async def has_testified() -> bool:
        return bool(worker.testimonies)

    await eventually(has_testified)
    await guarded.stop()
    assert worker.testimonies == ["second"]


async def test_a_process_that_says_good_bye_has_not_died(dying: Callable[[str], None]) -> None:
    dying("bye")
    worker = Worker()
    guarded = Quarantine(worker, orders)
    guarded.on_suspects()

    async def has_ended() -> bool:
        # Then it is started anew, since suspects wait still.
        return bool(guarded._wards)

    await eventually(has_ended)
    (first,) = guarded._wards
    assert (await first.end).worker == "first"
    await guarded.stop()
    assert not worker.testimonies


async def test_a_worker_that_ends_itself_is_no_witness(dying: Callable[[str], None]) -> None:
    dying("waits")
    worker = Worker()
    guarded = Quarantine(worker, orders)
    guarded.on_suspects()

    async def has_begun() -> bool:
        return any(ward.has_begun for ward in guarded._wards)

    await eventually(has_begun)
    (ward,) = guarded._wards
    waiting = asyncio.create_task(guarded.wait(30.0))
    await asyncio.sleep(0)
    os.kill(ward.pid, signal.SIGKILL)
    await waiting
    await guarded.stop()
    assert not worker.testimonies


async def test_in_a_program_of_ones_own_suspects_run_beside_others(brokers: Brokers, redis: Redis) -> None:
    broker = brokers()
    broker.is_worker_process = True

    async def nap() -> int:
        return os.getpid()

    task = broker.register_task(nap, task_name="nap")
    sent = await task.kiq()
    async with working(broker):
        await make_suspects(redis, broker)
        assert (await sent.wait_result(timeout=HANG)).return_value == os.getpid()
