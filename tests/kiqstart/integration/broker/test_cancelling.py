import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from typing import Any, cast

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from taskiq import NoResultError, TaskiqMessage, TaskiqMiddleware, TaskiqResult
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, entries_of, working

from kiqstart.broker import cancellation, heartbeat
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.cancellation import Canceller, CancelOutcome
from kiqstart.broker.delivery import current_delivery
from kiqstart.broker.fetcher import SuspectRule
from kiqstart.broker.script import Script
from kiqstart.redis.commands import AsyncCommands, ScriptClient, Value
from kiqstart.scheduler.clock import StoreClock
from kiqstart.scheduler.definition import ScheduleDefinition
from kiqstart.scheduler.scheduler_loop import SchedulerLoop
from kiqstart.scheduler.source import DurableScheduleSource
from kiqstart.scheduler.triggers import IntervalTrigger
from kiqstart.tasks.messages import with_labels
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.results.errors import TaskCancelledError
from kiqstart.testing import eventually


async def double(number: int = 1) -> int:
    return number * 2


def is_cancelled(error: BaseException | None, task_id: str) -> bool:
    return isinstance(error, TaskCancelledError) and str(error) == f"task {task_id} was cancelled"


async def test_a_delayed_task_that_is_cancelled_is_gone_at_once(broker: StreamBroker, redis: Redis) -> None:
    sent = await register_task(broker, double, name="double").kicker().after(60).kiq()
    await broker.cancel(sent.task_id)
    assert not await redis.exists(broker.keys.delayed, broker.keys.delayed_messages, broker.keys.cancelled)
    assert is_cancelled((await sent.wait_result(timeout=HANG)).error, sent.task_id)


async def test_a_waiting_task_that_is_cancelled_is_never_run_and_its_neighbours_are(
    broker: StreamBroker, redis: Redis
) -> None:
    numbers: list[int] = []

    async def note(number: int) -> None:
        numbers.append(number)

    task = register_task(broker, note, name="note")
    sent = [await task.kiq(number=number) for number in range(3)]
    await broker.cancel(sent[1].task_id)
    async with working(broker):
        results = [await one.wait_result(timeout=HANG) for one in sent]
    assert [is_cancelled(result.error, sent[1].task_id) for result in results] == [False, True, False]
    assert sorted(numbers) == [0, 2]
    assert not await redis.exists(broker.keys.cancelled)


@pytest.mark.parametrize("marks", [1, 30])
async def test_a_mark_of_some_other_task_lets_no_message_be_read_twice(
    broker: StreamBroker, monkeypatch: pytest.MonkeyPatch, marks: int
) -> None:
    task = register_task(broker, double, name="double")
    for number in range(marks):
        await broker.cancel(f"unknown-{number}")
    sent = [await task.kiq() for _ in range(10)]
    read: list[bytes] = []
    loads = broker.formatter.loads

    def noted(message: bytes) -> TaskiqMessage:
        read.append(message)
        return loads(message)

    monkeypatch.setattr(broker.formatter, "loads", noted)
    async with working(broker):
        for one in sent:
            await one.wait_result(timeout=HANG)
    assert len(read) == len(sent)


async def test_a_large_message_whose_task_was_cancelled_before_it_was_sent_is_never_run(
    brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = brokers()

    async def take(text: str) -> int:
        return len(text)

    task, large = register_task(broker, take, name="take"), "x" * 100_000
    await task.kiq(large)
    consumer = await broker.consume()
    consumer.take_suspects(SuspectRule.NONE)
    assert len(await consumer.fetch(1)) == 1
    fetcher: Any = consumer._fetcher
    look = fetcher._read_at_once

    async def look_before(*args: object) -> object:
        found = await look(*args)
        await broker.cancel("mine")
        await task.kicker().with_task_id("mine").kiq(large)
        return found

    monkeypatch.setattr(fetcher, "_read_at_once", look_before)
    [found] = await consumer.fetch(1)
    assert found.is_cancelled


class LateCopy:
    """A client whose first call of a script has no answer, and arrives when it `arrives`."""

    def __init__(self, redis: AsyncCommands, script: Script[object]) -> None:
        self._redis = redis
        self._script = script
        self._late: tuple[Value, ...] = ()

    def __getattr__(self, name: str) -> object:
        return getattr(self._redis, name)

    async def evalsha(self, sha: str, numkeys: int, *arguments: Value) -> object:
        if sha == self._script._sha and not self._late:
            self._late = (numkeys, *arguments)
            raise RedisConnectionError("no answer")
        return await self._redis.evalsha(sha, numkeys, *arguments)

    async def arrives(self) -> None:
        numkeys, *arguments = self._late
        await self._redis.eval(self._script._text, cast("int", numkeys), *arguments)


async def cancel_with_a_late_copy(broker: StreamBroker, script: str) -> LateCopy:
    """Cancel a waiting task `mine`; of one of its steps, the first try is still on its way."""
    late = LateCopy(broker.connection.redis, Script[object](script))
    assert await canceller_of(broker, late).cancel("mine", ["default"]) is CancelOutcome.WAITING
    return late


def canceller_of(broker: StreamBroker, redis: object) -> Canceller:
    return Canceller(
        cast("AsyncCommands", redis),
        broker.keys,
        group=broker.consumer_group_name,
        options=broker.options,
        task_id_of=broker.task_id_of,
        result_ttl=60,
    )


async def test_a_cancellation_that_arrives_late_cancels_nothing_that_was_sent_since(broker: StreamBroker) -> None:
    task = register_task(broker, double, name="double")
    await task.kicker().with_task_id("mine").kiq()
    late = await cancel_with_a_late_copy(broker, "cancel")
    sent = await task.kicker().with_task_id("mine").kiq(4)
    await late.arrives()
    async with working(broker):
        assert (await sent.wait_result(timeout=HANG)).return_value == 8


async def test_the_late_end_of_a_cancellation_takes_no_mark_of_a_later_one(broker: StreamBroker) -> None:
    task = register_task(broker, double, name="double")
    sent = await task.kicker().with_task_id("mine").kiq()
    late = await cancel_with_a_late_copy(broker, "unmark")
    await sent.forget()
    assert await broker.cancel("mine") is CancelOutcome.UNKNOWN
    await late.arrives()
    sent = await task.kicker().with_task_id("mine").kiq(4)
    async with working(broker):
        assert is_cancelled((await sent.wait_result(timeout=HANG)).error, "mine")


async def test_a_task_in_a_queue_that_no_worker_has_ever_taken_is_found_and_its_key_is_free(
    brokers: Brokers, redis: Redis
) -> None:
    sender, canceller = brokers(), brokers()
    task = register_task(sender, double, name="double", queue="late", unique="double:{number}")
    stream = sender.keys.stream("late")

    async def is_moved() -> bool:
        return await redis.xlen(stream) == 1

    async def send_delayed() -> None:
        await task.kicker().after(0.1).kiq(2)
        # The queue was forgotten meanwhile.
        await redis.delete(sender.keys.untaken, stream)
        async with working(brokers(queues={"other": 1})):
            await eventually(is_moved)

    async def send_scheduled() -> None:
        every, labels = IntervalTrigger(every=timedelta(seconds=1)), {"queue_name": "late", "unique": "double:3"}
        often = ScheduleDefinition(name="often", task="double", timing=every, kwargs={"number": 3}, labels=labels)
        ticker = SchedulerLoop(
            sender, DurableScheduleSource(sender).store, [often], clock=StoreClock(), send_deadline=1.0
        )

        async def has_sent() -> bool:
            await ticker.tick()
            return await is_moved()

        await eventually(has_sent)

    async def send_letter() -> None:
        await task.kiq(4)
        ((_, fields),) = await entries_of(redis, stream)
        await redis.delete(stream, sender.keys.uniques, sender.keys.untaken)
        await redis.xadd(sender.keys.dead, {"data": fields["data"], "queue": stream, "reason": "malformed"})
        (letter,) = await sender.dead_letters.list()
        await sender.dead_letters.retry(letter.id)

    for send in (lambda: task.kiq(0), lambda: task.kiq_many([task.call(1)]), send_delayed, send_scheduled, send_letter):
        await redis.delete(sender.keys.untaken, stream)
        await send()
        ((_, fields),) = await entries_of(redis, stream)
        assert await canceller.cancel(fields["task"]) is CancelOutcome.WAITING
        assert not await redis.exists(sender.keys.uniques, sender.keys.cancelled)


async def test_a_running_task_is_cancelled_in_the_midst_of_it(broker: StreamBroker, redis: Redis) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def run() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.set()
            raise

    async with working(broker):
        sent = await register_task(broker, run, name="run", max_retries=3).kiq()
        await began.wait()
        await broker.cancel(sent.task_id)
        assert is_cancelled((await sent.wait_result(timeout=HANG)).error, sent.task_id)
        assert ended.is_set()

        async def is_forgotten() -> bool:
            return not await redis.exists(broker.keys.cancelled)

        await eventually(is_forgotten)
    assert await redis.xlen(broker.keys.stream("default")) == 0


class SlowCleanUp:
    """A task whose clean-up takes some beats of the worker, each of which looks for marks."""

    def __init__(self, *, ends: bool) -> None:
        self.began, self.cleans_up, self.has_cleaned_up = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._ends = ends

    async def hang(self) -> None:
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cleans_up.set()
            await asyncio.sleep(1.5)
            self.has_cleaned_up.set()
            if not self._ends:
                await asyncio.Event().wait()


async def test_a_clean_up_that_hangs_is_ended_by_cancelling_again_and_one_cancellation_does_not_cut_it_off(
    broker: StreamBroker,
) -> None:
    slow = SlowCleanUp(ends=False)
    async with working(broker):
        sent = await register_task(broker, slow.hang, name="hang", unique="hang").kiq()
        await slow.began.wait()
        assert set(await asyncio.gather(*[broker.cancel(sent.task_id) for _ in range(2)])) == {CancelOutcome.RUNNING}
        await asyncio.wait_for(slow.cleans_up.wait(), HANG)
        await asyncio.wait_for(slow.has_cleaned_up.wait(), HANG)
        assert await broker.cancel(sent.task_id) is CancelOutcome.RUNNING
        assert is_cancelled((await sent.wait_result(timeout=HANG)).error, sent.task_id)


class LostAnswer:
    """A client of Redis; the first answer to one script is lost, which is noticed when something has happened."""

    def __init__(self, redis: object, script: Script[object], happened: asyncio.Event) -> None:
        self._redis = cast("Redis", redis)
        self._script = script
        self._happened = happened

    def __getattr__(self, name: str) -> object:
        return getattr(self._redis, name)

    async def evalsha(self, sha: str, numkeys: int, *arguments: Value) -> object:
        if sha == self._script._sha and not self._happened.is_set():
            await self._redis.eval(self._script._text, numkeys, *arguments)
            await self._happened.wait()
            raise RedisConnectionError("no answer")
        return await self._redis.evalsha(sha, numkeys, *arguments)


async def test_a_cancellation_without_an_answer_that_is_tried_again_does_not_cut_off_the_clean_up(
    broker: StreamBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SlowCleanUp(ends=True)
    # As if the further try came much later.
    monkeypatch.setattr(heartbeat, "_MS_OF_ONE_CANCELLATION", 0)
    async with working(broker):
        sent = await register_task(broker, slow.hang, name="hang").kiq()
        await slow.began.wait()
        lossy = LostAnswer(broker.connection.redis, Script[object]("cancel"), slow.cleans_up)
        assert await canceller_of(broker, lossy).cancel(sent.task_id, ["default"]) is CancelOutcome.RUNNING
        assert is_cancelled((await sent.wait_result(timeout=HANG)).error, sent.task_id)
    assert slow.has_cleaned_up.is_set()


async def test_a_running_task_in_a_thread_runs_on_and_its_result_is_dropped(broker: StreamBroker) -> None:
    began, may_end, has_ended = threading.Event(), threading.Event(), threading.Event()

    def run() -> str:
        began.set()
        may_end.wait(HANG)
        has_ended.set()
        return "for nobody"

    async with working(broker):
        sent = await broker.register_task(run, task_name="run").kiq()
        await asyncio.to_thread(began.wait)
        await broker.cancel(sent.task_id)
        try:
            result = await sent.wait_result(timeout=HANG)
        finally:
            may_end.set()
        assert is_cancelled(result.error, sent.task_id)
        await asyncio.to_thread(has_ended.wait)
    assert is_cancelled((await sent.get_result()).error, sent.task_id)


async def test_a_cancelled_task_whose_clean_up_raises_something_else_is_not_retried(
    broker: StreamBroker, redis: Redis
) -> None:
    began, runs = asyncio.Event(), 0

    async def run() -> None:
        nonlocal runs
        runs += 1
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ConnectionError("the driver was interrupted") from None

    async with working(broker):
        sent = await register_task(broker, run, name="run", max_retries=3, retry_delay=0.2).kiq()
        await began.wait()
        await broker.cancel(sent.task_id)
        assert is_cancelled((await sent.wait_result(timeout=HANG)).error, sent.task_id)
        assert await redis.zcard(broker.keys.delayed) == 0
    assert runs == 1


async def test_a_cancelled_task_is_not_retried_by_any_middleware(broker: StreamBroker, redis: Redis) -> None:
    began = asyncio.Event()

    class Stubborn(TaskiqMiddleware):
        async def on_error(self, message: TaskiqMessage, result: TaskiqResult[Any], exception: BaseException) -> None:  # noqa: ARG002
            await broker.retry(broker.formatter.dumps(with_labels(message, {})), 0.2)
            result.error = NoResultError()

    async def run() -> None:
        began.set()
        await asyncio.Event().wait()

    broker.add_middlewares(Stubborn())
    async with working(broker):
        sent = await register_task(broker, run, name="run").kiq()
        await began.wait()
        await broker.cancel(sent.task_id)
        assert is_cancelled((await sent.wait_result(timeout=HANG)).error, sent.task_id)
        assert await redis.zcard(broker.keys.delayed) == 0


async def test_a_task_that_is_cancelled_after_it_has_failed_is_not_retried(broker: StreamBroker, redis: Redis) -> None:
    failed, runs = asyncio.Event(), 0

    class Slow(TaskiqMiddleware):
        async def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:  # noqa: ARG002
            failed.set()
            delivery = current_delivery.get()

            async def is_marked() -> bool:
                return delivery is not None and delivery.is_cancelled

            await eventually(is_marked)

    async def run() -> None:
        nonlocal runs
        runs += 1
        raise LookupError

    broker.add_middlewares(Slow())
    async with working(broker):
        sent = await register_task(broker, run, name="run", max_retries=3, retry_delay=0.2).kiq()
        await failed.wait()
        await broker.cancel(sent.task_id)
        assert is_cancelled((await sent.wait_result(timeout=HANG)).error, sent.task_id)
    assert runs == 1
    assert await redis.zcard(broker.keys.delayed) == 0


async def test_a_task_that_catches_its_cancellation_and_returns_keeps_its_result(broker: StreamBroker) -> None:
    began = asyncio.Event()

    async def run() -> str:
        began.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        return "done all the same"

    async with working(broker):
        sent = await register_task(broker, run, name="run").kiq()
        await began.wait()
        await broker.cancel(sent.task_id)
        assert (await sent.wait_result(timeout=HANG)).return_value == "done all the same"


async def test_a_task_that_has_ended_is_left_alone(broker: StreamBroker) -> None:
    task = register_task(broker, double, name="double")
    async with working(broker):
        sent = await task.kiq()
        await sent.wait_result(timeout=HANG)
        await broker.cancel(sent.task_id)
        assert (await (await task.kiq(number=2)).wait_result(timeout=HANG)).return_value == 4
        assert (await sent.get_result()).return_value == 2


async def test_cancelling_says_what_it_has_found(broker: StreamBroker) -> None:
    began = asyncio.Event()

    async def run() -> None:
        began.set()
        await asyncio.Event().wait()

    task = register_task(broker, run, name="run")
    delayed, waiting = await task.kicker().after(60).kiq(), await task.kiq()
    assert await broker.cancel(delayed.task_id) is CancelOutcome.DELAYED
    assert await broker.cancel(waiting.task_id) is CancelOutcome.WAITING
    for sent in (delayed, waiting):
        assert is_cancelled((await sent.wait_result(timeout=HANG)).error, sent.task_id)
        assert await broker.cancel(sent.task_id) is CancelOutcome.ENDED
    assert await broker.cancel("nobody's") is CancelOutcome.UNKNOWN
    async with working(broker):
        running = await task.kiq()
        await began.wait()
        assert await broker.cancel(running.task_id) is CancelOutcome.RUNNING
        assert is_cancelled((await running.wait_result(timeout=HANG)).error, running.task_id)


@pytest.mark.parametrize("place", ["delayed", "waiting", "running"])
async def test_all_tasks_of_one_id_are_cancelled_and_the_id_is_free_again(brokers: Brokers, place: str) -> None:
    broker, sender = brokers(), brokers()
    runs: list[str] = []

    async def run(which: str) -> None:
        runs.append(which)
        if place == "running" and which == "old":
            await asyncio.Event().wait()

    tasks = [register_task(one, run, name="run") for one in (broker, sender)]
    kicker = tasks[1].kicker().with_task_id("mine")
    if place == "delayed":
        kicker = kicker.after(0.5)

    async def both_run() -> bool:
        return len(runs) == 2

    async with AsyncExitStack() as stack:
        if place == "running":
            await stack.enter_async_context(working(broker))
        for _ in range(2):
            await kicker.kiq("old")
        if place == "running":
            await eventually(both_run)
        assert await sender.cancel("mine") == place
        began_before = len(runs)
        if place != "running":
            await stack.enter_async_context(working(broker))
        again = await tasks[1].kicker().with_task_id("mine").after(1).kiq("new")

        async def new_has_run() -> bool:
            return "new" in runs

        await eventually(new_has_run)
        assert not (await again.wait_result(timeout=HANG)).is_err
    assert runs[began_before:] == ["new"]


@pytest.mark.parametrize("first", [0, 1, 2])
async def test_all_that_is_delayed_of_one_id_is_cancelled_whichever_of_it_was_due_first(
    broker: StreamBroker, redis: Redis, first: int
) -> None:
    runs: list[int] = []

    async def run(which: int) -> None:
        runs.append(which)

    async def has_run() -> bool:
        return runs == [first]

    task = register_task(broker, run, name="run")
    for which in range(3):
        await task.kicker().with_task_id("mine").after(0.05 if which == first else 60).kiq(which)
    async with working(broker):
        await eventually(has_run)
        assert await broker.cancel("mine") is CancelOutcome.DELAYED
    assert not await redis.exists(broker.keys.delayed, broker.keys.delayed_messages)


class SlowToEnd:
    """A task that ends some time after it was cancelled."""

    def __init__(self, ends: str) -> None:
        self.began, self.is_cancelled, self.may_end = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._ends = ends

    async def run(self, which: str) -> str:
        if which == "new":
            return which
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.is_cancelled.set()
            await self.may_end.wait()
            if self._ends == "is cancelled":
                raise
            if self._ends == "fails":
                raise LookupError from None
        return which


@pytest.mark.parametrize("ends", ["is cancelled", "fails", "returns"])
@pytest.mark.parametrize("ends_first", ["old", "new"])
async def test_a_task_whose_id_a_cancelled_one_has_that_still_runs_has_its_own_outcome(
    brokers: Brokers, redis: Redis, ends: str, ends_first: str
) -> None:
    worker, sender, old = brokers(), brokers(), SlowToEnd(ends)
    register_task(worker, old.run, name="run", max_retries=1)
    kicker = register_task(sender, old.run, name="run").kicker().with_task_id("mine")
    async with working(worker):
        await kicker.kiq("old")
        await old.began.wait()
        assert await sender.cancel("mine") is CancelOutcome.RUNNING
        await old.is_cancelled.wait()
        sent = await (kicker.after(1) if ends_first == "old" else kicker).kiq("new")
        waiting = asyncio.create_task(sent.wait_result(timeout=HANG))
        if ends_first == "new":
            assert (await waiting).return_value == "new"
        old.may_end.set()
        assert (await waiting).return_value == "new"

        async def is_over() -> bool:
            return not await redis.exists(sender.keys.cancelled)

        await eventually(is_over)
        assert (await sent.get_result()).return_value == "new"


@pytest.mark.parametrize("place", ["delayed", "waiting", "ended"])
async def test_a_task_whose_id_an_ended_one_had_has_its_own_outcome(brokers: Brokers, place: str) -> None:
    worker, sender, may_end = brokers(), brokers(), asyncio.Event()

    async def run(number: int) -> int:
        await may_end.wait()
        return number

    tasks = [register_task(one, run, name="run") for one in (worker, sender)]
    kicker = tasks[1].kicker().with_task_id("mine")
    if place != "ended":
        await (kicker.after(60) if place == "delayed" else kicker).kiq(1)
        assert await sender.cancel("mine") == place
    async with working(worker):
        for number in (2, 3):
            may_end.clear()
            sent = await tasks[1].kicker().with_task_id("mine").after(0.2).kiq(number)
            assert not await sent.is_ready()
            may_end.set()
            assert (await sent.wait_result(timeout=HANG)).return_value == number


async def test_a_task_that_is_sent_and_cancelled_again_and_again_ends_as_cancelled_each_time(
    brokers: Brokers, redis: Redis
) -> None:
    worker, sender, began = brokers(), brokers(), asyncio.Queue[int]()

    async def run(number: int) -> None:
        began.put_nowait(number)
        await asyncio.Event().wait()

    tasks = [register_task(one, run, name="run") for one in (worker, sender)]
    async with working(worker):
        for number in range(3):
            sent = await tasks[1].kicker().with_task_id("mine").kiq(number)
            assert await began.get() == number
            assert await sender.cancel("mine") is CancelOutcome.RUNNING
            assert is_cancelled((await sent.wait_result(timeout=HANG)).error, "mine")

        async def is_over() -> bool:
            return not await redis.exists(sender.keys.cancelled)

        await eventually(is_over)


async def test_an_id_that_is_cancelled_before_its_task_is_sent_does_not_run_on_an_idle_worker(
    brokers: Brokers,
) -> None:
    broker, sender = brokers(), brokers()
    runs: list[int] = []

    async def run() -> None:
        runs.append(1)

    tasks = [register_task(one, run, name="run") for one in (broker, sender)]
    async with working(broker):
        await (await tasks[1].kiq()).wait_result(timeout=HANG)
        assert await sender.cancel("mine") is CancelOutcome.UNKNOWN
        sent = await tasks[1].kicker().with_task_id("mine").kiq()
        assert is_cancelled((await sent.wait_result(timeout=HANG)).error, "mine")
    assert runs == [1]


async def test_a_task_that_waits_for_its_retry_is_cancelled(broker: StreamBroker, redis: Redis) -> None:
    tries: list[int] = []

    async def fail() -> None:
        tries.append(1)
        raise OSError

    async def waits_for_its_retry() -> bool:
        return await redis.zcard(broker.keys.delayed) == 1

    async with working(broker):
        sent = await register_task(broker, fail, name="fail", max_retries=3, retry_delay=60).kiq()
        await eventually(waits_for_its_retry)
        assert await broker.cancel(sent.task_id) is CancelOutcome.DELAYED
        assert is_cancelled((await sent.wait_result(timeout=HANG)).error, sent.task_id)
    assert tries == [1]


async def test_a_cancelled_task_whose_clean_up_fails_is_not_tried_again(broker: StreamBroker) -> None:
    began: list[int] = []

    async def run() -> None:
        began.append(1)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ConnectionError("the driver was interrupted") from None

    async def has_begun() -> bool:
        return bool(began)

    async with working(broker):
        sent = await register_task(broker, run, name="run", max_retries=3, retry_delay=0.1).kiq()
        await eventually(has_begun)
        await broker.cancel(sent.task_id)
        assert is_cancelled((await sent.wait_result(timeout=HANG)).error, sent.task_id)
    assert began == [1]


async def test_an_unknown_id_that_is_cancelled_harms_no_task_even_where_connections_are_few(brokers: Brokers) -> None:
    broker, sender = brokers(), brokers()
    ran: list[int] = []

    async def note(number: int) -> None:
        ran.append(number)

    tasks = [register_task(one, note, name="note") for one in (broker, sender)]
    await sender.cancel("nobody's")
    sent = await tasks[1].kiq_many(tasks[1].call(number) for number in range(600))
    async with working(broker, max_async_tasks=300):
        for one in sent:
            assert not (await one.wait_result(timeout=HANG)).is_err
    assert sorted(ran) == list(range(600))


async def test_a_task_that_ends_while_it_is_looked_for_has_ended_and_its_id_is_free(
    broker: StreamBroker, redis: Redis
) -> None:
    task = register_task(broker, double, name="double")
    async with working(broker):
        for number in range(30):
            sent = await task.kicker().with_task_id("mine").kiq(number=number)
            outcome = await broker.cancel("mine")
            result = await sent.wait_result(timeout=HANG)
            assert outcome is not CancelOutcome.UNKNOWN
            assert result.return_value == number * 2 or is_cancelled(result.error, "mine")
            await sent.forget()
        assert await redis.zscore(broker.keys.cancelled, "mine") is None


async def test_a_task_that_ends_by_the_mark_of_its_id_before_it_is_come_upon_was_running(
    broker: StreamBroker, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = asyncio.Event()

    async def run() -> None:
        began.set()
        await asyncio.Event().wait()

    async def has_ended() -> bool:
        return bool(await redis.exists(broker.keys.result("mine")))

    async def look_late(*_: object) -> AsyncGenerator[tuple[str, bytes]]:
        await eventually(has_ended)
        nothing: list[tuple[str, bytes]] = []
        for one in nothing:
            yield one

    monkeypatch.setattr(Canceller, "_entries_of", look_late)
    async with working(broker):
        await register_task(broker, run, name="run").kicker().with_task_id("mine").kiq()
        await began.wait()
        assert await broker.cancel("mine") is CancelOutcome.RUNNING


async def test_the_id_is_free_of_a_task_that_ends_while_it_is_being_cancelled(
    broker: StreamBroker, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[str] = []

    async def run(which: str) -> str:
        began.append(which)
        if which == "old":
            await asyncio.Event().wait()
        return which

    async def has_begun() -> bool:
        return bool(began)

    async def has_ended() -> bool:
        return bool(await redis.exists(broker.keys.result("mine")))

    cancel_entry = cancellation._CANCEL_ENTRY

    async def cancel_late(redis_: ScriptClient, keys: list[str], arguments: list[Value]) -> object:
        # By the mark of its id.
        await eventually(has_ended)
        return await cancel_entry(redis_, keys, arguments)

    monkeypatch.setattr(cancellation, "_CANCEL_ENTRY", cancel_late)
    task = register_task(broker, run, name="run")
    async with working(broker):
        await task.kicker().with_task_id("mine").kiq("old")
        await eventually(has_begun)
        assert await broker.cancel("mine") is CancelOutcome.RUNNING
        again = await task.kicker().with_task_id("mine").kiq("new")
        assert (await again.wait_result(timeout=HANG)).return_value == "new"
