"""What failed and left no dead letter is sent again: whole, once, and as it was sent."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import pytest
from redis.asyncio import Redis
from taskiq import Context, TaskiqDepends
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, entries_of, working
from tests.kiqstart.integration.broker.wire import Wire

from kiqstart.app import App
from kiqstart.broker import run_resender
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.run_decoding import Run
from kiqstart.broker.run_filter import RunFilter
from kiqstart.broker.run_record import MESSAGE_BYTES
from kiqstart.broker.run_resender import RunNotResentError
from kiqstart.broker.runs import read_runs
from kiqstart.operations.run_resending import FailedRuns, last_failed_run, resend
from kiqstart.operations.runs import UnknownRunError
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.registry import BaseTasksRegistry
from kiqstart.tasks.sealing.sealing import Sealing

KEYS: Final = "a:c2lnbmluZy1rZXktb2YtdGhlc2UtdGVzdHMtMDAxMjM="
SECRETS: Final = "b:ZW5jcnlwdGlvbi1rZXktb2YtdGhpcy10ZXN0LTQ1Njc="
ENCRYPTED: Final = Sealing(signing_keys=KEYS, encryption_keys=SECRETS)


class Machine:
    """A task that fails until it is mended, and what it was called with."""

    def __init__(self) -> None:
        self.is_broken = True
        self.calls: list[tuple[str, str]] = []
        self.retries: list[int] = []

    async def run(self, name: str, password: str = "", context: Context = TaskiqDepends()) -> str:
        self.calls.append((name, password))
        self.retries.append(int(context.message.labels.get("retries", 0)))
        if self.is_broken:
            raise LookupError(f"no {name}")
        return f"sent to {name}"


def machine_task(machine: Machine, broker: StreamBroker, **options: Any) -> Any:  # noqa: ANN401  # a task
    return register_task(broker, machine.run, name="machine", **options)


async def failed_run(broker: StreamBroker, task_id: str) -> Run:
    return await last_failed_run(broker, task_id)


async def outcomes(broker: StreamBroker, task_id: str) -> list[str]:
    """How the task's runs have ended, the last one first."""
    found = await read_runs(broker.connection.redis, broker.keys, RunFilter(task_id=task_id))
    return [one.outcome.value for one in found]


async def test_a_failed_task_is_sent_again_under_its_id_and_its_caller_gets_the_new_result(brokers: Brokers) -> None:
    worker, operator, machine = brokers(queues={"mail": 1}), brokers(), Machine()
    task = machine_task(machine, worker, queue="mail")
    async with working(worker):
        sent = await task.kiq("Ada", password="swordfish-7")
        assert (await sent.wait_result(timeout=HANG)).is_err
        machine.is_broken = False
        await operator.run_resender.resend(await failed_run(operator, sent.task_id))
        assert (await sent.wait_result(timeout=HANG)).return_value == "sent to Ada"
    # Not with what is shown in the place of a secret.
    assert machine.calls == [("Ada", "swordfish-7")] * 2
    assert await outcomes(operator, sent.task_id) == ["succeeded", "failed"]


@pytest.mark.parametrize("sealing", [None, ENCRYPTED])
async def test_its_tries_are_counted_anew(brokers: Brokers, sealing: Sealing | None) -> None:
    worker, machine = brokers(sealing=sealing), Machine()
    task = machine_task(machine, worker, max_retries=3, retry_delay=0, retry_on=(KeyError,))
    async with working(worker):
        sent = await task.kicker().with_labels(retries=2).kiq("Ada")
        assert (await sent.wait_result(timeout=HANG)).is_err
        await worker.run_resender.resend(await failed_run(worker, sent.task_id))
        assert (await sent.wait_result(timeout=HANG)).is_err
    assert machine.retries == [2, 0]


async def test_a_sealed_message_is_sent_as_it_was_also_by_who_has_no_key(brokers: Brokers, redis: Redis) -> None:
    worker, operator, machine = brokers(sealing=ENCRYPTED), brokers(), Machine()
    task = machine_task(machine, worker)
    sent = await task.kiq("Ada", password="swordfish-7")
    [(_, before)] = await entries_of(redis, worker.keys.name)
    async with working(worker):
        with pytest.raises(LookupError):
            await sent.result(timeout=HANG)
    await operator.run_resender.resend(await failed_run(operator, sent.task_id))
    [(_, after)] = await entries_of(redis, worker.keys.name)
    assert after == before
    assert "swordfish" not in after["data"]
    machine.is_broken = False
    async with working(worker):
        assert await sent.result(timeout=HANG) == "sent to Ada"
    assert machine.calls == [("Ada", "swordfish-7")] * 2


@pytest.mark.parametrize("sealing", [None, ENCRYPTED])
async def test_a_message_that_was_cut_is_not_sent_and_that_is_said(brokers: Brokers, sealing: Sealing | None) -> None:
    worker, machine = brokers(sealing=sealing), Machine()
    task = machine_task(machine, worker)
    async with working(worker):
        # A cut that ends with a brace looks whole.
        sent = await task.kiq("}" * MESSAGE_BYTES)
        assert (await sent.wait_result(timeout=HANG)).is_err
    with pytest.raises(
        RunNotResentError, match=f"is not kept whole, which only JSON of up to {MESSAGE_BYTES} bytes is"
    ):
        await worker.run_resender.resend(await failed_run(worker, sent.task_id))
    assert len(machine.calls) == 1


async def test_a_run_is_sent_again_once_however_many_ask(brokers: Brokers, redis: Redis) -> None:
    worker, machine = brokers(), Machine()
    task = machine_task(machine, worker)
    async with working(worker):
        sent = await task.kiq("Ada")
        await sent.wait_result(timeout=HANG)
    run = await failed_run(worker, sent.task_id)
    answers = await asyncio.gather(*(worker.run_resender.resend(run) for _ in range(5)), return_exceptions=True)
    assert Counter("was sent again before" in str(one) for one in answers) == {False: 1, True: 4}
    assert len(await entries_of(redis, worker.keys.name)) == 1
    async with working(worker):
        assert (await sent.wait_result(timeout=HANG)).is_err
        # It has failed anew: that run is another one, this one stays done.
        with pytest.raises(RunNotResentError, match="was sent again before"):
            await worker.run_resender.resend(run)
        await worker.run_resender.resend(await failed_run(worker, sent.task_id))
        assert (await sent.wait_result(timeout=HANG)).is_err
    assert len(machine.calls) == 3


async def test_marks_go_with_their_runs(brokers: Brokers, redis: Redis) -> None:
    worker, machine = brokers(), Machine()
    task = machine_task(machine, worker)
    async with working(worker):
        for name in ("Ada", "Bob"):
            await (await task.kiq(name)).wait_result(timeout=HANG)
    second, first = await read_runs(worker.connection.redis, worker.keys, RunFilter(task="machine"))
    await worker.run_resender.resend(first)
    assert await worker.run_resender.resent() == {first.id}
    assert 0 < await redis.ttl(worker.keys.resent_runs) <= worker.options.failed_runs_age
    await redis.xtrim(worker.keys.failed_runs, minid=second.id.partition(".")[0], approximate=False)
    await worker.run_resender.resend(second)
    assert await worker.run_resender.resent() == {second.id}
    with pytest.raises(RunNotResentError, match="its run is not kept any more"):
        await worker.run_resender.resend(first)


async def test_a_task_whose_unique_key_is_held_stays_and_may_be_sent_later(brokers: Brokers, redis: Redis) -> None:
    worker, machine = brokers(), Machine()
    task = machine_task(machine, worker, unique="to:{name}")
    async with working(worker):
        sent = await task.kiq("Ada")
        await sent.wait_result(timeout=HANG)
    other = await task.kiq("Ada")
    run = await failed_run(worker, sent.task_id)
    with pytest.raises(RunNotResentError, match=f"task {other.task_id} waits or runs with its unique key 'to:Ada'"):
        await worker.run_resender.resend(run)
    assert len(await entries_of(redis, worker.keys.name)) == 1
    async with working(worker):
        await other.wait_result(timeout=HANG)
    machine.is_broken = False
    await worker.run_resender.resend(run)
    assert (await task.kiq("Ada")).task_id == sent.task_id
    async with working(worker):
        assert (await sent.wait_result(timeout=HANG)).return_value == "sent to Ada"


async def test_what_keeps_a_task_from_being_sent_again_is_said(brokers: Brokers) -> None:
    worker, machine = brokers(), Machine()
    task = machine_task(machine, worker)
    dead = register_task(worker, machine.run, name="dead", max_retries=1, retry_delay=0)
    async with working(worker):
        failed, buried = await task.kiq("Ada"), await dead.kiq("Bob")
        for one in (failed, buried):
            await one.wait_result(timeout=HANG)
        machine.is_broken = False
        fine = await task.kiq("Cyd")
        await fine.wait_result(timeout=HANG)
    later = await task.kicker().with_labels(delay=60).kiq("Dee")
    run = await failed_run(worker, failed.task_id)
    await worker.run_resender.resend(run)
    for task_id, words in (
        (failed.task_id, "it has not ended: it waits in the queue 'default'"),
        (later.task_id, "it has not ended: it is delayed"),
        (buried.task_id, "it is a dead letter: `kiqstart dead show` with this id"),
        (fine.task_id, "its last run has not failed, but succeeded"),
    ):
        with pytest.raises(RunNotResentError, match=words):
            await last_failed_run(worker, task_id)
    with pytest.raises(UnknownRunError):
        await last_failed_run(worker, "nobody's")


async def test_a_queue_that_is_none_and_a_foreign_key_send_nothing_and_leave_no_mark(
    brokers: Brokers, redis: Redis
) -> None:
    worker, machine = brokers(), Machine()
    task = machine_task(machine, worker, unique="to:{name}")
    async with working(worker):
        sent = await task.kiq("Ada")
        await sent.wait_result(timeout=HANG)
    keys, run = worker.keys, await failed_run(worker, sent.task_id)
    [(entry, fields)] = await entries_of(redis, keys.failed_runs)
    odd = {"runs": fields["runs"].replace(" default ", " workers\x7f ", 1)}
    later = f"{int(entry.partition('-')[0]) + 1}-{entry.partition('-')[2]}"
    await redis.xadd(keys.failed_runs, odd, id=later)  # type: ignore[arg-type]  # redis-py's is invariant
    [strange] = [one for one in await read_runs(worker.connection.redis, keys) if one.id.startswith(later)]
    with pytest.raises(RunNotResentError, match="no queue can be named"):
        await worker.run_resender.resend(strange)
    await redis.delete(keys.name)
    await redis.set(keys.name, "something else")
    with pytest.raises(RunNotResentError, match="it cannot be added to"):
        await worker.run_resender.resend(run)
    assert await worker.run_resender.resent() == set()
    assert not await redis.hlen(keys.uniques)
    await redis.delete(keys.name)
    await worker.run_resender.resend(run)


async def test_an_answer_that_is_lost_sends_it_once(brokers: Brokers, wire: Wire, redis: Redis) -> None:
    worker, operator, machine = brokers(), brokers(url=wire.url), Machine()
    task = machine_task(machine, worker)
    async with working(worker):
        sent = await task.kiq("Ada")
        await sent.wait_result(timeout=HANG)
    run = await failed_run(worker, sent.task_id)
    await worker.connection.client.script_load(run_resender._RESEND_RUN._text)
    wire.lose_answer_to(run_resender._RESEND_RUN._sha)
    await operator.run_resender.resend(run)
    assert len(await entries_of(redis, worker.keys.name)) == 1


CHOICES: Final[Mapping[str, tuple[FailedRuns, list[str]]]] = {
    "all": (FailedRuns(), ["Ada", "Bob"]),
    "task": (FailedRuns(task="machine"), ["Ada", "Bob"]),
    "another task": (FailedRuns(task="machin"), []),
    "text": (FailedRuns(text="no Ada"), ["Ada"]),
    "queue": (FailedRuns(queue="default", since="1h"), ["Ada", "Bob"]),
    "another queue": (FailedRuns(queue="mail"), []),
}


@pytest.mark.parametrize("case", CHOICES)
async def test_of_each_task_the_last_run_counts(brokers: Brokers, redis: Redis, case: str) -> None:
    worker, machine = brokers(), Machine()
    task = machine_task(machine, worker)
    async with working(worker):
        sent = {name: await task.kiq(name) for name in ("Ada", "Bob", "Cyd", "Dee", "Eve")}
        for one in sent.values():
            await one.wait_result(timeout=HANG)
        machine.is_broken = False
        # Its id was sent anew by somebody, and ran well.
        again = await task.kicker().with_task_id(sent["Cyd"].task_id).kiq("Cyd")
        assert not (await again.wait_result(timeout=HANG)).is_err
    # Sent again, and lost since.
    await worker.run_resender.resend(await failed_run(worker, sent["Dee"].task_id))
    await redis.xtrim(worker.keys.name, maxlen=0, approximate=False)
    # Its id was sent anew, and waits.
    await task.kicker().with_task_id(sent["Eve"].task_id).kiq("Eve")
    failed, names = CHOICES[case]
    assert [one.task_id for one in await failed.runs(worker)] == [sent[name].task_id for name in names]


async def test_a_task_that_the_application_has_no_more_is_not_sent(brokers: Brokers, redis: Redis) -> None:
    worker, later, machine = brokers(), brokers(), Machine()
    task = machine_task(machine, worker)
    async with working(worker):
        sent = await task.kiq("Ada")
        await sent.wait_result(timeout=HANG)
    run = await failed_run(later, sent.task_id)
    with pytest.raises(RunNotResentError, match="this application has no task 'machine' any more"):
        await resend(App(broker=later, registry=BaseTasksRegistry(later)), later, run)
    # Of a bare broker nobody knows whether its tasks were imported.
    await resend(App(broker=later), later, run)
    assert len(await entries_of(redis, worker.keys.name)) == 1
