"""Tasks that have not ended are listed as the ended ones are, and a queue of any length is looked at in part only."""

import asyncio
import base64
import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import cast

import pytest
from redis.asyncio import Redis
from redis.typing import EncodableT, FieldT
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, working

from kiqstart import report_progress
from kiqstart.broker import Sealing
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.outstanding import Outstanding, read_outstanding
from kiqstart.broker.run_filter import RunFilter
from kiqstart.broker.task_search import find_task
from kiqstart.broker.whereabouts import Place, Whereabouts
from kiqstart.operations.run_selection import by_parameters
from kiqstart.tasks.progress import Progress
from kiqstart.tasks.registration import register_task
from kiqstart.testing import eventually

EVERY = RunFilter()


async def tell(customer: object, number: int = 0, note: str = "") -> None:
    pass


def numbers(found: Outstanding) -> list[str]:
    """The arguments of those that were found."""
    return [one.arguments for one in found.tasks]


async def put(redis: Redis, stream: str, at_ms: int, *, task_id: str, **fields: str) -> None:
    """Put a message into a stream, as if it had come then."""
    message = f'{{"task_id":"{task_id}","task_name":"tell","labels":{{}},"args":[],"kwargs":{{}}}}'
    await redis.xadd(stream, cast("dict[FieldT, EncodableT]", {"data": message, **fields}), id=f"{at_ms}-0")


async def test_what_waits_is_listed_by_age_across_queues_and_streams(broker: StreamBroker, redis: Redis) -> None:
    keys = broker.keys
    task = register_task(broker, tell, name="tell")
    sent = [await task.kicker().with_labels(queue_name=queue).kiq("ada", 1) for queue in ("low", "default", "low")]
    later = int(datetime.now(UTC).timestamp() * 1000) + 3_600_000
    await put(redis, keys.returned("low"), later, task_id="again", deliveries="2", first="1790000000000")
    await put(redis, keys.misfits("default"), later + 1, task_id="left", left="1")
    await redis.xadd(keys.name, {"odd": "no message"}, id=f"{later + 2}-0")
    found = await read_outstanding(broker, Place.WAITING, EVERY)
    # What was sent in one millisecond is in no order.
    assert {one.task_id for one in found.tasks[:3]} == {one.task_id for one in sent}
    assert sorted(one.queue for one in found.tasks[:3]) == ["default", "low", "low"]
    assert [(one.task_id, one.queue) for one in found.tasks[3:]] == [
        ("again", "low"), ("left", "default"), (None, "default"),
    ]  # fmt: skip
    assert (found.looked_at, found.not_looked_at) == (6, 0)
    first, again, odd = found.tasks[0], found.tasks[3], found.tasks[5]
    assert (first.task, first.arguments, first.attempt, first.crashes) == ("tell", '"ada", 1', 1, 0)
    assert first.sent == first.since
    assert abs((datetime.now(UTC) - first.since).total_seconds()) < HANG
    assert (again.crashes, again.sent) == (2, datetime.fromtimestamp(1_790_000_000, UTC))
    assert (odd.task, odd.since) == (None, datetime.fromtimestamp((later + 2) / 1000, UTC))
    found = await read_outstanding(broker, Place.WAITING, RunFilter(queue="default"))
    assert [one.task_id for one in found.tasks] == [sent[1].task_id, "left", None]
    assert await read_outstanding(broker, Place.RUNNING, EVERY) == Outstanding(tasks=[], looked_at=0, not_looked_at=0)
    assert await read_outstanding(broker, Place.DELAYED, EVERY) == Outstanding(tasks=[], looked_at=0, not_looked_at=0)


@pytest.mark.parametrize("place", [Place.WAITING, Place.DELAYED])
async def test_of_a_long_queue_as_much_is_looked_at_as_was_asked_for(broker: StreamBroker, place: Place) -> None:
    task = register_task(broker, tell, name="tell")
    rare = register_task(broker, tell, name="rare")
    for name, count in ((task, 1500), (rare, 1), (task, 10)):
        kicker = name.kicker() if place is Place.WAITING else name.kicker().after(3600)
        await kicker.kiq_many(name.call("x" * 100, number) for number in range(count))
    found = await read_outstanding(broker, place, EVERY, limit=3)
    assert (len(found.tasks), found.looked_at, found.not_looked_at) == (3, 3, 1508)
    assert {one.place for one in found.tasks} == {place}
    which = RunFilter(task="rare")
    found = await read_outstanding(broker, place, which, most=700)
    assert (found.tasks, found.looked_at, found.not_looked_at) == ([], 700, 811)
    found = await read_outstanding(broker, place, which, most=5000)
    assert [one.task for one in found.tasks] == ["rare"]
    assert (found.looked_at, found.not_looked_at) == (1511, 0)


async def test_what_is_due_first_comes_first_with_the_try_it_will_be(brokers: Brokers, redis: Redis) -> None:
    sender, worker = brokers(), brokers(queues={"default": 1, "mail": 1})

    async def fail(customer: str) -> None:
        raise LookupError(customer)

    again = register_task(worker, fail, name="fail", max_retries=3, retry_delay=1000)
    task = register_task(sender, tell, name="tell", queue="mail")
    for seconds in (3600, 60):
        await task.kicker().with_labels(schedule_id="nightly").after(seconds).kiq("ada", seconds)
    async with working(worker):
        await again.kiq("bob")

        async def three_are_delayed() -> bool:
            return await redis.zcard(sender.keys.delayed) == 3

        await eventually(three_are_delayed)
    await redis.hset(sender.keys.delayed_messages, "odd", "of another layout")
    await redis.zadd(sender.keys.delayed, {"odd": "inf"})
    found = await read_outstanding(sender, Place.DELAYED, EVERY)
    assert numbers(found) == ['"ada", 60', '"bob"', '"ada", 3600', ""]
    assert [(one.queue, one.attempt, one.schedule) for one in found.tasks] == [
        ("mail", 1, "nightly"), ("default", 2, None), ("mail", 1, "nightly"), ("", 1, None),
    ]  # fmt: skip
    due = (found.tasks[0].since - datetime.now(UTC)).total_seconds()
    assert 60 - HANG < due <= 61
    bob = found.tasks[1]
    assert bob.task_id is not None
    assert await find_task(sender, bob.task_id) == bob
    assert numbers(await read_outstanding(sender, Place.DELAYED, RunFilter(queue="default"))) == ['"bob"']


async def test_what_runs_is_listed_with_its_worker_and_how_far_it_is(brokers: Brokers) -> None:
    sender, worker = brokers(), brokers()
    goes_on = asyncio.Event()

    async def work(number: int, customer: str = "ada") -> None:
        report_progress(number, 10, f"rows of {customer}")
        await goes_on.wait()

    register_task(worker, work, name="work")
    task = register_task(sender, work, name="work")
    async with working(worker):
        sent = [await task.kiq(number, customer=f"customer-{number}") for number in range(1, 4)]
        expected = [Progress(done=number, total=10, text=f"rows of customer-{number}") for number in range(1, 4)]

        async def all_are_said() -> bool:
            found = await read_outstanding(sender, Place.RUNNING, EVERY)
            return sorted(str(one.progress) for one in found.tasks) == sorted(map(str, expected))

        try:
            await eventually(all_are_said)
            found = await read_outstanding(sender, Place.RUNNING, EVERY)
            assert [one.since for one in found.tasks] == sorted(one.since for one in found.tasks)
            by_id = {one.task_id: one for one in found.tasks}
            one = by_id[sent[1].task_id]
            assert (one.task, one.arguments, one.queue) == ("work", '2, customer="customer-2"', "default")
            assert (one.worker, one.host, one.pid) == (
                (await worker.consume()).lease.worker, socket.gethostname(), os.getpid()
            )  # fmt: skip
            assert await find_task(sender, sent[1].task_id) == one
            assert (await read_outstanding(sender, Place.WAITING, EVERY)).tasks == []
            for which, count in (
                (RunFilter(text="CUSTOMER-2"), 1),
                (RunFilter(text=socket.gethostname()), 3),
                (RunFilter(queue="low"), 0),
                (RunFilter(arguments={"customer": "customer-3"}), 1),
                (RunFilter(arguments={"number": 3}), 0),
                (by_parameters(RunFilter(arguments={"number": 3}), sender), 1),
            ):
                assert len((await read_outstanding(sender, Place.RUNNING, which)).tasks) == count, which
            found = await read_outstanding(sender, Place.RUNNING, EVERY, limit=1, most=2)
            assert (len(found.tasks), found.looked_at, found.not_looked_at) == (1, 1, 2)
        finally:
            goes_on.set()
        for running in sent:
            await running.wait_result(timeout=HANG)


FOUND: Mapping[str, tuple[RunFilter, list[str]]] = {
    "a number": (RunFilter(arguments={"customer": 7}), ["7, 1", "7.0, 3"]),
    "a text": (RunFilter(arguments={"customer": "7"}), ['"7", 2']),
    "two": (RunFilter(arguments={"customer": 7, "number": 3}), ["7.0, 3"]),
    "by name": (RunFilter(arguments={"note": "Größe"}), ['{"a": [1, true]}, note="Größe"']),
    "an object": (RunFilter(arguments={"customer": {"a": [1.0, True]}}), ['{"a": [1, true]}, note="Größe"']),
    "true is not 1": (RunFilter(arguments={"customer": {"a": [1, 1]}}), []),
    "a default": (RunFilter(arguments={"note": ""}), []),
    "none such": (RunFilter(arguments={"colour": 7}), []),
    "an id": (RunFilter(task_id="none"), []),
    "a word": (RunFilter(text="GRÖ"), ['{"a": [1, true]}, note="Größe"']),
    "a name": (RunFilter(task="tell", text='"7", 2'), ['"7", 2']),
}


@pytest.mark.parametrize("which", FOUND)
async def test_they_are_found_by_what_one_knows_of_them(broker: StreamBroker, which: str) -> None:
    task = register_task(broker, tell, name="tell")
    wanted, expected = FOUND[which]
    for delay in (0, 1000):
        kicker = task.kicker().after(delay) if delay else task.kicker()
        for customer, number in ((7, 1), ("7", 2), (7.0, 3)):
            await kicker.kiq(customer, number)
        await kicker.kiq({"a": [1, True]}, note="Größe")
    for place in (Place.WAITING, Place.DELAYED):
        # What is due in one millisecond is in no order.
        assert sorted(numbers(await read_outstanding(broker, place, by_parameters(wanted, broker)))) == expected


async def test_sealed_arguments_are_shown_and_found_by_who_has_the_key(brokers: Brokers) -> None:
    signing, encryption = (f"a:{base64.b64encode(os.urandom(32)).decode()}" for _ in range(2))
    sender = brokers(sealing=Sealing(signing_keys=signing, encryption_keys=encryption))
    task = register_task(sender, tell, name="tell")
    sent = await task.kiq("ada", 7)
    await task.kicker().after(1000).kiq("ada", 7)
    stranger = brokers()
    register_task(stranger, tell, name="tell")
    for place in (Place.WAITING, Place.DELAYED):
        for reader, shown, count in ((sender, '"ada", 7', 1), (stranger, "encrypted", 0)):
            [one] = (await read_outstanding(reader, place, RunFilter(task="tell"))).tasks
            assert one.arguments == shown
            which = by_parameters(RunFilter(arguments={"customer": "ada", "number": 7}), reader)
            assert len((await read_outstanding(reader, place, which)).tasks) == count
            assert len((await read_outstanding(reader, place, RunFilter(text="ADA"))).tasks) == count
    now = await find_task(stranger, sent.task_id)
    assert isinstance(now, Whereabouts)
    assert (now.task_id, now.task, now.arguments) == (sent.task_id, "tell", "encrypted")


async def test_of_long_arguments_the_beginning_is_shown_and_all_is_compared(broker: StreamBroker) -> None:
    task = register_task(broker, tell, name="tell")
    for size in (5_000, 1_500_000):
        await task.kiq("x" * size, note="last")
    found = await read_outstanding(broker, Place.WAITING, EVERY)
    for arguments in numbers(found):
        assert arguments.startswith('"xxx')
        assert arguments.endswith("x…")
        assert 1500 < len(arguments) < 2100
    # Of a message beyond a megabyte, only the beginning is read.
    which = RunFilter(arguments={"note": "last"})
    assert len((await read_outstanding(broker, Place.WAITING, which)).tasks) == 1
