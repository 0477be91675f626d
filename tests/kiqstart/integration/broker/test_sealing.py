"""Signed and encrypted messages on a real Redis: what runs, what does not, and what can be seen of it."""

import asyncio
import base64
import json
import os
import re
from collections.abc import Callable
from itertools import pairwise
from typing import cast

import pytest
from redis.asyncio import Redis
from taskiq import TaskiqDepends
from taskiq.depends.progress_tracker import ProgressTracker, TaskState
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, entries_of, letters_of, working

from kiqstart.broker import CancelOutcome, Sealing, StreamBroker, UntrustedTaskError
from kiqstart.broker.run_filter import RunFilter
from kiqstart.broker.runs import read_runs
from kiqstart.broker.stats import count_tasks
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.results.errors import UnreadableResultError
from kiqstart.tasks.task import Task
from kiqstart.testing import eventually


def key(name: str) -> str:
    return f"{name}:{base64.b64encode(os.urandom(32)).decode()}"


OLD, NEW, SECRET = key("old"), key("new"), key("secret")
SIGNED = Sealing(signing_keys=NEW)
ENCRYPTED = Sealing(signing_keys=NEW, encryption_keys=SECRET)


class Till:
    """A task of which one sees what it was given."""

    def __init__(self) -> None:
        self.paid: list[str] = []

    async def pay(self, who: str, progress: ProgressTracker[str] = TaskiqDepends()) -> str:
        self.paid.append(who)
        await progress.set_progress(TaskState.STARTED, f"progress of {who}")
        return f"paid to {who}"

    async def fail(self, who: str) -> None:
        self.paid.append(who)
        raise ValueError(f"{who} has no account")

    def task(self, broker: StreamBroker) -> "Task[[str], object]":
        return cast("Task[[str], object]", register_task(broker, self.pay, name="pay"))

    def failing(self, broker: StreamBroker) -> "Task[[str], object]":
        made = register_task(broker, self.fail, name="fail", max_retries=1, retry_delay=0)
        return cast("Task[[str], object]", made)


async def everything_of(broker: StreamBroker) -> bytes:
    """What lies in all keys of a queue and of its results."""
    client = cast("Redis", broker.connection.redis)
    names = cast("list[bytes]", await client.keys(f"{broker.queue_name}*"))
    values = [
        repr([await client.execute_command(*_READ[cast("bytes", await client.type(name))](name))]).encode()  # type: ignore[no-untyped-call]  # redis-py's
        for name in names
    ]
    assert len(names) > 5
    return b"".join(values)


_READ: dict[bytes, Callable[[bytes], tuple[object, ...]]] = {
    b"string": lambda name: ("GET", name),
    b"hash": lambda name: ("HGETALL", name),
    b"stream": lambda name: ("XRANGE", name, "-", "+"),
    b"zset": lambda name: ("ZRANGE", name, 0, -1),
    b"set": lambda name: ("SMEMBERS", name),
}


async def test_a_fleet_changes_to_signatures_and_to_new_keys_without_losing_a_task(
    brokers: Brokers, redis: Redis
) -> None:
    """Senders of each step, on workers of the step before it and of its own."""
    steps = [
        None,
        Sealing(signing_keys=OLD, is_required=False),
        Sealing(signing_keys=OLD),
        Sealing(signing_keys=f"{OLD},{NEW}"),
        Sealing(signing_keys=f"{NEW},{OLD}"),
        SIGNED,
        Sealing(signing_keys=NEW, encryption_keys=SECRET, encrypts=False),
        ENCRYPTED,
    ]
    till = Till()
    for before, after in pairwise(steps):
        for sender, worker in ((before, after), (after, before)):
            sending, working_one = brokers(sealing=sender), brokers(sealing=worker)
            till.task(working_one)
            sent = await till.task(sending).kiq("Ada")
            async with working(working_one):
                assert (await sent.wait_result(timeout=HANG)).return_value == "paid to Ada"
    assert len(till.paid) == 2 * (len(steps) - 1)
    assert not await letters_of(redis, brokers())


async def test_what_is_not_signed_never_runs_is_a_dead_letter_and_is_not_signed_by_a_retry(
    brokers: Brokers, caplog: pytest.LogCaptureFixture
) -> None:
    stranger, worker, till = brokers(), brokers(sealing=SIGNED), Till()
    task = till.task(worker)
    sent = await till.task(stranger).kicker().with_labels(retries=3, unique="a-key").kiq("Eve")
    async with working(worker):
        with pytest.raises(UntrustedTaskError, match="it is not signed"):
            await sent.result(timeout=HANG)
        [letter] = await worker.dead_letters.list()
        assert (letter.reason, letter.task_name, letter.task_id) == ("untrusted", "pay", sent.task_id)
        assert "it is not signed (TASKS_SIGNING_REQUIRED)" in letter.detail
        assert "Traceback" not in caplog.text
        await worker.dead_letters.retry(letter.id)
        with pytest.raises(UntrustedTaskError):
            await sent.result(timeout=HANG)
        [again] = await worker.dead_letters.list()
        assert b"seal" not in again.data
    assert till.paid == []
    # The unique key is free, and a signed one runs.
    async with working(worker):
        honest = await task.kicker().with_labels(unique="a-key").kiq("Ada")
        assert (await honest.wait_result(timeout=HANG)).return_value == "paid to Ada"


async def test_messages_that_were_tampered_with_in_redis_never_run_and_stop_nobody(
    brokers: Brokers, redis: Redis
) -> None:
    worker, till = brokers(sealing=SIGNED), Till()
    task = till.task(worker)
    register_task(worker, till.fail, name="fail")
    await task.kiq("Ada")
    await task.kicker().with_labels(queue_name="default", who="x").kiq("Bob")
    first, second = (fields["data"] for _, fields in await entries_of(redis, worker.keys.name))
    tampered = [
        first.replace('"pay"', '"fail"'),
        first.replace("Ada", "Eve"),
        first.replace('"labels":{', '"labels":{"retries":"9",'),
        first.replace('"kwargs":{}', '"kwargs":{"who":"Eve"}'),
        first.replace('"task_id":"', '"task_id":"0'),
        first[: first.rindex('"args"')] + second[second.rindex('"args"') :],
        first[: first.rindex('"seal"')] + second[second.rindex('"seal"') :],
        first[: first.rindex(',"seal"')] + "}",
        first.replace('"1:new:', '"1:old:'),
        first.replace("{", '{"task_name":"fail",', 1),
        first[:-1] + ',"args":["Eve"]}',
        first + " ",
    ]
    assert len(set(tampered)) == len(tampered)
    for data in tampered:
        await redis.xadd(worker.keys.name, {"data": data})
    async with working(worker):
        await eventually(lambda: _has_ended(worker))
    assert sorted(till.paid) == ["Ada", "Bob"]
    letters = await worker.dead_letters.list()
    assert [letter.reason for letter in letters] == ["untrusted"] * len(tampered)


async def _has_ended(broker: StreamBroker) -> bool:
    counts = await count_tasks(broker, [])
    return all(queue.waiting + queue.running == 0 for queue in counts.queues)


async def test_arguments_results_progress_and_errors_are_nowhere_in_redis_and_reach_those_with_the_key(
    brokers: Brokers,
) -> None:
    worker, till = brokers(sealing=ENCRYPTED), Till()
    task, failing = till.task(worker), till.failing(worker)
    many = await task.kiq_many(task.call(f"Ada-{number}") for number in range(3))
    later = await task.kicker().after(3600).kiq("Ada-later")
    bad = await failing.kiq("Ada-bad")
    async with working(worker):
        results = [await one.wait_result(timeout=HANG) for one in many]
        with pytest.raises(ValueError, match="Ada-bad has no account"):
            await bad.result(timeout=HANG)
        progress = await many[0].get_progress()
    assert [one.return_value for one in results] == [f"paid to Ada-{number}" for number in range(3)]
    assert progress is not None
    assert progress.meta == "progress of Ada-0"
    # Three letters are in random base64 now and then.
    assert not re.search(rb"Ada-(?:[0-2]|later|bad)", await everything_of(worker))

    plain = brokers()
    for broker, arguments, result, error in (
        (worker, '"Ada-0"', '"paid to Ada-0"', "ValueError: Ada-bad has no account"),
        (plain, "encrypted", "encrypted", "encrypted"),
    ):
        client, keys, secrets = broker.connection.redis, broker.keys, broker.secrets
        [run] = await read_runs(client, keys, RunFilter(task_id=many[0].task_id), secrets=secrets)
        assert (run.task, run.arguments, run.result) == ("pay", arguments, result)
        failed = (await read_runs(client, keys, RunFilter(task_id=bad.task_id), secrets=secrets))[0]
        assert (failed.error, failed.result) == (error, None)
        [letter] = await broker.dead_letters.list()
        assert (letter.task_id, letter.reason) == (bad.task_id, "retries-exhausted")
        assert error in letter.detail
        shown = json.loads(broker.dead_letters.shown_message(letter))
        assert "seal" not in shown
        assert shown.get("args", shown.get("arguments")) == (["Ada-bad"] if broker is worker else "encrypted")
    found = await read_runs(worker.connection.redis, worker.keys, RunFilter(text="Ada-2"), secrets=worker.secrets)
    assert [run.task_id for run in found] == [many[2].task_id]
    with pytest.raises(UnreadableResultError, match="no key"):
        await plain.result_backend.wait(many[0].task_id, 5)  # type: ignore[attr-defined]  # our own backend
    # What finds a task needs no key.
    assert await plain.cancel(later.task_id) is CancelOutcome.DELAYED


async def test_a_result_of_another_task_is_not_taken_for_this_one(brokers: Brokers, redis: Redis) -> None:
    worker, till = brokers(sealing=ENCRYPTED), Till()
    task = till.task(worker)
    async with working(worker):
        one, other = [await task.kiq(who) for who in ("Ada", "Bob")]
        for sent in (one, other):
            await sent.wait_result(timeout=HANG)
    await redis.copy(worker.keys.result(other.task_id), worker.keys.result(one.task_id), replace=True)
    with pytest.raises(UnreadableResultError, match="not encrypted so"):
        await one.wait_result(timeout=HANG)


async def test_a_letter_of_a_sealed_task_is_sent_again_also_by_who_has_no_key(brokers: Brokers) -> None:
    worker, till = brokers(sealing=ENCRYPTED), Till()
    failing = till.failing(worker)
    for operator in (worker, brokers()):
        async with working(worker):
            sent = await failing.kiq("Ada")
            with pytest.raises(ValueError, match="no account"):
                await sent.result(timeout=HANG)
            till.paid.clear()
            [letter] = await operator.dead_letters.list()
            await operator.dead_letters.retry(letter.id)
            with pytest.raises(ValueError, match="no account"):
                await asyncio.wait_for(sent.result(), HANG)
        assert till.paid == ["Ada"] * 2
        await worker.dead_letters.purge((await worker.dead_letters.list())[0].id)
