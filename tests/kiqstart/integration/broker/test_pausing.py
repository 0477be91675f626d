"""What is paused waits, nothing of it is lost, and all else goes on."""

from contextlib import AsyncExitStack
from typing import Any

import pytest
from redis.asyncio import Redis
from taskiq import AsyncTaskiqTask
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, entries_of, working
from tests.kiqstart.integration.broker.wire import Wire

from kiqstart.broker.acts import Operator
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.cancellation import CancelOutcome
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.pauses import NotPausedError, Pausable, Pauses
from kiqstart.broker.run_filter import RunFilter
from kiqstart.broker.runs import read_runs
from kiqstart.broker.stats import count_tasks
from kiqstart.tasks.registration import register_task
from kiqstart.testing import eventually

ADA = Operator(user="ada", host="here")
QUEUES = {"default": 1, "low": 1}
LARGE = 200_000


def pauses_of(broker: StreamBroker) -> Pauses:
    return Pauses(broker.connection.redis, broker.keys, deadline=1.0)


class Bench:
    """A sender and workers of two queues and two tasks, which note what has run."""

    def __init__(self, brokers: Brokers, options: StreamOptions) -> None:
        self._brokers, self._options = brokers, options
        self.ran: list[tuple[str, int]] = []
        self.sender = self.broker()
        self.pauses = pauses_of(self.sender)

    def broker(self) -> StreamBroker:
        broker = self._brokers(options=self._options, queues=QUEUES)

        async def work(number: int, filling: str = "") -> int:
            self.ran.append(("work", number))
            return len(filling)

        async def other(number: int, filling: str = "") -> int:
            self.ran.append(("other", number))
            return len(filling)

        register_task(broker, work, name="work")
        register_task(broker, other, name="other")
        return broker

    def call(self, name: str, queue: str = "default") -> Any:  # noqa: ANN401  # as another task of the name
        task = self.sender.find_task(name)
        assert task is not None
        return task.kicker().with_labels(queue_name=queue)

    async def waiting(self) -> dict[str, int]:
        return {one.queue: one.waiting for one in (await count_tasks(self.sender, QUEUES)).queues}


@pytest.fixture
async def bench(brokers: Brokers) -> Bench:
    return Bench(brokers, StreamOptions(lease=1.0, misfit_grace=0.2))


# What of the queue `low` or the task `other` is sent, by what is paused.
@pytest.mark.parametrize("kind", Pausable)
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("filling", ["", "x" * LARGE])
async def test_what_is_paused_waits_and_runs_once_it_is_resumed(
    bench: Bench, kind: Pausable, workers: int, filling: str
) -> None:
    queue, name = ("low", "work") if kind is Pausable.QUEUE else ("default", "other")
    paused = queue if kind is Pausable.QUEUE else name
    async with AsyncExitStack() as stack:
        for _ in range(workers):
            await stack.enter_async_context(working(bench.broker()))
        # Workers that have read already, and now wait for a message.
        await (await bench.call("work").kiq(0, filling)).wait_result(timeout=HANG)
        assert await bench.pauses.pause(kind, paused, by=ADA, reason="why")
        sent = [await bench.call(name, queue).kiq(number, filling) for number in range(1, 21)]
        for number in range(100, 110):
            done = await (await bench.call("work").kiq(number, filling)).wait_result(timeout=HANG)
            assert done.return_value == len(filling)
        later = await bench.call(name, queue).kiq(21, filling)
        await (await bench.call("work").kiq(110, filling)).wait_result(timeout=HANG)
        assert sorted(number for _, number in bench.ran) == [0, *range(100, 111)]

        async def all_wait() -> bool:
            return (await bench.waiting())[queue] == 21

        await eventually(all_wait)
        await bench.pauses.resume(kind, paused)
        for one in (*sent, later):
            assert (await one.wait_result(timeout=HANG)).return_value == len(filling)
    assert sorted(number for _, number in bench.ran) == [*range(22), *range(100, 111)]
    assert await bench.sender.dead_letters.count() == 0


@pytest.mark.parametrize("kind", Pausable)
async def test_what_is_paused_stays_where_it_is_for_workers_that_come_later(
    bench: Bench, kind: Pausable, redis: Redis
) -> None:
    keys = bench.sender.keys
    paused, place = ("low", keys.stream("low")) if kind is Pausable.QUEUE else ("other", keys.misfits("low"))
    await bench.pauses.pause(kind, paused, by=ADA)
    held = await bench.call("other", "low").kiq(1)

    async def is_there() -> bool:
        return await redis.xlen(place) == 1

    async with working(bench.broker()):
        await (await bench.call("work").kiq(2)).wait_result(timeout=HANG)
        await eventually(is_there)
    # Later than the grace of tasks that no worker knows.
    before = await entries_of(redis, place)
    async with working(bench.broker()):
        await (await bench.call("work").kiq(3)).wait_result(timeout=HANG)
        said = await redis.hgetall(keys.misfits_known)

        async def has_looked_again() -> bool:
            return kind is Pausable.QUEUE or await redis.hgetall(keys.misfits_known) != said

        await eventually(has_looked_again)
        await (await bench.call("work").kiq(4)).wait_result(timeout=HANG)
        assert await entries_of(redis, place) == before
        assert bench.ran == [("work", 2), ("work", 3), ("work", 4)]
        await bench.pauses.resume(kind, paused)
        assert not (await held.wait_result(timeout=HANG)).is_err
    assert await bench.sender.dead_letters.count() == 0


@pytest.mark.parametrize("is_set_aside", [True, False])
async def test_a_paused_task_outlives_a_deploy_that_does_not_know_it(
    bench: Bench, brokers: Brokers, redis: Redis, is_set_aside: bool
) -> None:
    keys = bench.sender.keys

    async def gone() -> None:
        raise AssertionError

    register_task(bench.sender, gone, name="gone")
    stranger = brokers(options=StreamOptions(lease=1.0, misfit_grace=0.2), queues=QUEUES)
    await bench.pauses.pause(Pausable.TASK, "other", by=ADA)
    held = await bench.call("other").kiq(1)

    async def is_there() -> bool:
        return await redis.xlen(keys.misfits("default")) == 1

    if is_set_aside:
        async with working(bench.broker()):
            await eventually(is_there)
    async with working(stranger):
        await eventually(is_there)
        # Left later than what is paused, and a dead letter when that would have been one.
        await (await bench.call("gone").kiq()).wait_result(timeout=HANG)
        assert [letter.task_name for letter in await bench.sender.dead_letters.list()] == ["gone"]
        await bench.pauses.resume(Pausable.TASK, "other")
        async with working(bench.broker()):
            assert not (await held.wait_result(timeout=HANG)).is_err
    assert bench.ran == [("other", 1)]


async def test_a_task_that_no_worker_knows_is_a_dead_letter_a_grace_after_it_is_resumed(
    bench: Bench, brokers: Brokers
) -> None:
    await bench.pauses.pause(Pausable.TASK, "other", by=ADA)
    held = await bench.call("other").kiq(1)
    async with working(brokers(options=StreamOptions(lease=1.0, misfit_grace=0.2), queues=QUEUES)):
        await bench.pauses.resume(Pausable.TASK, "other")
        assert (await held.wait_result(timeout=HANG)).is_err
    assert await bench.sender.dead_letters.count() == 1


@pytest.mark.parametrize("kind", Pausable)
async def test_what_waits_paused_can_be_cancelled(bench: Bench, kind: Pausable, redis: Redis) -> None:
    await bench.pauses.pause(kind, "low" if kind is Pausable.QUEUE else "other", by=ADA)
    async with working(bench.broker()):
        held = await bench.call("other", "low").kiq(1)
        if kind is Pausable.TASK:

            async def is_set_aside() -> bool:
                return await redis.xlen(bench.sender.keys.misfits("low")) == 1

            await eventually(is_set_aside)
        assert await bench.sender.cancel(held.task_id) is CancelOutcome.WAITING
        await bench.pauses.resume(kind, "low" if kind is Pausable.QUEUE else "other")
        assert (await held.wait_result(timeout=HANG)).is_err
        await (await bench.call("work").kiq(2)).wait_result(timeout=HANG)
    assert bench.ran == [("work", 2)]


class Customers:
    """A sender and workers of one task, whose calls are for customers."""

    def __init__(self, brokers: Brokers) -> None:
        self._brokers = brokers
        self.ran: list[tuple[int, str]] = []
        self.sender = self.broker()
        self.pauses = pauses_of(self.sender)

    def broker(self) -> StreamBroker:
        broker = self._brokers(options=StreamOptions(lease=1.0, misfit_grace=0.2))

        async def mail(number: int, customer: str = "nobody") -> None:
            self.ran.append((number, customer))

        register_task(broker, mail, name="mail")
        return broker

    async def send(self, number: int, *customer: str, **named: str) -> AsyncTaskiqTask[Any]:
        task = self.sender.find_task("mail")
        assert task is not None
        return await task.kicker().kiq(number, *customer, **named)

    async def pause(self, customer: str) -> None:
        await self.pauses.pause(Pausable.TASK, "mail", by=ADA, where={"customer": customer})

    def numbers_of(self, customer: str) -> list[int]:
        return [number for number, of in self.ran if of == customer]


@pytest.fixture
async def customers(brokers: Brokers) -> Customers:
    return Customers(brokers)


async def test_calls_of_one_customer_wait_and_run_in_order_once_they_are_resumed(
    customers: Customers, redis: Redis
) -> None:
    place = customers.sender.keys.misfits("default")
    await customers.pause("acme")
    await customers.pause("nobody")
    held: list[AsyncTaskiqTask[Any]] = []
    async with working(customers.broker()):
        for number in range(0, 40, 4):
            held.append(await customers.send(number, "acme"))
            await customers.send(number + 1, customer="free")
            held += [await customers.send(number + 2, customer="acme"), await customers.send(number + 3)]

        async def all_wait() -> bool:
            return await redis.xlen(place) == len(held)

        await eventually(all_wait)
        await (await customers.send(100, "last")).wait_result(timeout=HANG)
        before = await entries_of(redis, place)
    assert customers.numbers_of("free") == [*range(1, 40, 4)]
    assert customers.numbers_of("acme") == customers.numbers_of("nobody") == []
    # By a worker that comes later than the grace of what no worker may take, nothing is touched.
    async with working(customers.broker()):
        await (await customers.send(101, "last")).wait_result(timeout=HANG)
        assert await entries_of(redis, place) == before
        await customers.pauses.resume(Pausable.TASK, "mail", where={"customer": "acme"})
        await held[-2].wait_result(timeout=HANG)

        async def only_others_wait() -> bool:
            return await redis.xlen(place) == 10

        await eventually(only_others_wait)
        assert customers.numbers_of("acme") == [number for number in range(40) if number % 4 in (0, 2)]
        assert customers.numbers_of("nobody") == []
        await customers.pauses.resume(Pausable.TASK, "mail", where={"customer": "nobody"})
        await held[-1].wait_result(timeout=HANG)
    assert customers.numbers_of("nobody") == [*range(3, 40, 4)]
    assert await customers.sender.dead_letters.count() == 0


async def test_what_two_pauses_hold_waits_for_both(customers: Customers, redis: Redis) -> None:
    both = {"number": "7", "customer": "acme"}
    await customers.pauses.pause(Pausable.TASK, "mail", by=ADA, where=both)
    async with working(customers.broker()):
        seven, eight = await customers.send(7, "acme"), await customers.send(8, "acme")
        await eight.wait_result(timeout=HANG)
        await customers.pause("acme")
        await customers.pauses.resume(Pausable.TASK, "mail", where=both)

        async def waits_for_the_other() -> bool:
            found = await entries_of(redis, customers.sender.keys.misfit_index)
            return [fields["held"] for _, fields in found] == ['calls:mail\n{"customer": "acme"}']

        await eventually(waits_for_the_other)
        assert customers.ran == [(8, "acme")]
        await customers.pauses.resume(Pausable.TASK, "mail", where={"customer": "acme"})
        await seven.wait_result(timeout=HANG)
    assert customers.ran == [(8, "acme"), (7, "acme")]


async def test_the_default_queue_is_paused_by_either_of_its_names(bench: Bench) -> None:
    await bench.pauses.pause(Pausable.QUEUE, bench.sender.keys.name, by=ADA)
    held = await bench.call("work").kiq(1)
    async with working(bench.broker()):
        await (await bench.call("work", "low").kiq(2)).wait_result(timeout=HANG)
        assert bench.ran == [("work", 2)]
        await bench.pauses.resume(Pausable.QUEUE, "default")
        await held.wait_result(timeout=HANG)


async def test_suspects_of_a_paused_queue_start_no_process(bench: Bench, redis: Redis) -> None:
    broker = bench.broker()
    consumer = await broker.consume()
    await redis.xadd(broker.keys.suspects("low"), {"data": "x", "deliveries": "2"})
    await bench.pauses.pause(Pausable.QUEUE, "low", by=ADA)
    assert await consumer.count_suspects() == 0
    await bench.pauses.resume(Pausable.QUEUE, "low")
    assert await consumer.count_suspects() == 1


async def test_who_paused_first_stays_known(bench: Bench) -> None:
    assert await bench.pauses.pause(Pausable.TASK, "other", by=ADA, reason="see https://me:hunter2@wiki")
    assert not await bench.pauses.pause(Pausable.TASK, "other", by=Operator(user="bob", host="there"))
    assert await bench.pauses.pause(Pausable.QUEUE, "low", by=ADA)
    queue, task = await bench.pauses.all()
    assert (queue.kind, queue.name, task.kind, task.name, task.by) == ("queue", "low", "task", "other", ADA)
    assert task.reason == "see https://me:***@wiki"
    await bench.pauses.resume(Pausable.TASK, "other")
    with pytest.raises(NotPausedError, match="the task 'other' is not paused"):
        await bench.pauses.resume(Pausable.TASK, "other")


async def test_what_strangers_put_there_pauses_nothing_and_breaks_nothing(bench: Bench, redis: Redis) -> None:
    await redis.hset(bench.sender.keys.paused, mapping={b"\xff": "x", "task:other": "no JSON", "odd:x": "y"})
    [odd] = await bench.pauses.all()
    assert (odd.name, odd.since) == ("other", None)
    async with working(bench.broker()):
        await (await bench.call("work").kiq(1)).wait_result(timeout=HANG)
        await redis.set(bench.sender.keys.paused, "another type")
        await (await bench.call("other").kiq(2)).wait_result(timeout=HANG)


async def test_a_pause_lets_nobody_look_for_what_was_cancelled(brokers: Brokers, wire: Wire) -> None:
    sender, worker = brokers(), brokers(url=wire.url)
    await pauses_of(sender).pause(Pausable.TASK, "other", by=ADA)
    async with working(worker):
        for _ in range(3):
            assert (await (await sender.ping.kiq()).wait_result(timeout=HANG)).return_value == "pong"
    assert wire.count("EXISTS")
    assert not wire.count("ZMSCORE")


@pytest.mark.parametrize("kind", Pausable)
async def test_a_run_of_what_was_paused_was_sent_before_it_was_resumed(
    bench: Bench, kind: Pausable, redis: Redis
) -> None:
    paused = "low" if kind is Pausable.QUEUE else "other"
    async with working(bench.broker()):
        await bench.pauses.pause(kind, paused, by=ADA)
        held = await bench.call("other", "low").kiq(1)

        async def waits() -> bool:
            return (await bench.waiting())["low"] == 1

        await eventually(waits)
        seconds, micros = await redis.time()
        resumed_ms = seconds * 1000 + micros // 1000
        await bench.pauses.resume(kind, paused)
        assert not (await held.wait_result(timeout=HANG)).is_err
        keys, which = bench.sender.keys, RunFilter(task_id=held.task_id)

        async def is_kept() -> bool:
            return len(await read_runs(bench.sender.connection.redis, keys, which, limit=2)) == 1

        await eventually(is_kept)
        [run] = await read_runs(bench.sender.connection.redis, keys, which, limit=2)
        assert run.sent.timestamp() * 1000 <= resumed_ms
