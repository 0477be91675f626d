"""How runs have ended is kept, bounded, and never at a task's cost."""

import asyncio
import json
import os
import socket
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from redis import Redis as SyncRedis
from redis.asyncio import Redis
from taskiq import AsyncTaskiqTask
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, entries_of, keys_of, working
from tests.kiqstart.integration.broker.wire import Wire
from tests.kiqstart.integration.redis.users import url_as

from kiqstart.broker import run_bounds, settler
from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.delivery import current_delivery
from kiqstart.broker.options import StreamOptions
from kiqstart.broker.run_bounds import RunBounds
from kiqstart.broker.run_decoding import Run
from kiqstart.broker.run_filter import RunFilter
from kiqstart.broker.run_record import BLOCK_BYTES
from kiqstart.broker.run_stats import Outcome
from kiqstart.broker.runs import RunTail, read_runs
from kiqstart.broker.task_search import TaskNotFoundInTimeError, find_task
from kiqstart.broker.whereabouts import Place
from kiqstart.observability.kept_lines import KeptLines
from kiqstart.operations.runs import UnknownRunError, read_history
from kiqstart.redis.commands import ScriptClient, async_commands
from kiqstart.tasks.registration import register_task
from kiqstart.testing import eventually


async def echo(value: object = None) -> object:
    return value


async def fail(value: object = None) -> None:
    raise LookupError(f"no {value}")


async def runs_of(broker: StreamBroker, which: RunFilter = RunFilter(), limit: int = 1000) -> list[Run]:  # noqa: B008  # frozen
    return list(await read_runs(broker.connection.redis, broker.keys, which, limit=limit))


async def test_each_end_of_a_run_is_kept_with_what_one_asks_for(brokers: Brokers, redis: Redis) -> None:
    broker = brokers(queues={"default": 1, "mail": 1})
    began = datetime.now(UTC) - timedelta(seconds=1)
    hanging = asyncio.Event()

    async def hang() -> None:
        hanging.set()
        await asyncio.Event().wait()

    good = register_task(broker, echo, name="good", queue="mail")
    bad = register_task(broker, fail, name="bad")
    again = register_task(broker, fail, name="again", max_retries=1, retry_delay=0)
    cut = register_task(broker, hang, name="cut")
    await redis.xadd(broker.keys.name, {"data": "no JSON"})
    async with working(broker):
        ids: dict[str, str] = {}
        for task in (good, bad, again):
            sent = await task.kicker().with_labels(schedule_id="nightly").kiq({"a": "ä"})
            ids[task.task_name] = sent.task_id
            await sent.wait_result(timeout=HANG)
        sent_cut = await cut.kiq()
        await asyncio.wait_for(hanging.wait(), HANG)
        await broker.cancel(sent_cut.task_id)
        await sent_cut.wait_result(timeout=HANG)
        worker = (await broker.consume()).lease.worker
    runs = await runs_of(broker)
    assert Counter((run.task, run.outcome) for run in runs) == {
        ("good", Outcome.SUCCEEDED): 1,
        ("bad", Outcome.FAILED): 1,
        ("again", Outcome.RETRIED): 1,
        ("again", Outcome.DEAD): 1,
        ("cut", Outcome.CANCELLED): 1,
        (None, Outcome.DEAD): 1,
    }
    assert [run.ended for run in runs] == sorted((run.ended for run in runs), reverse=True)
    [run] = await runs_of(broker, RunFilter(task_id=ids["good"]))
    assert (run.task_id, run.arguments, run.queue, run.schedule) == (ids["good"], '{"a": "ä"}', "mail", "nightly")
    assert (run.result, run.error, run.traceback, run.attempt, run.crashes) == ('{"a": "ä"}', None, "", 1, 0)
    assert (run.worker, run.host, run.pid) == (worker, socket.gethostname(), os.getpid())
    assert run.began is not None
    assert began < run.sent <= run.began + timedelta(milliseconds=2)
    assert run.began <= run.ended + timedelta(milliseconds=2)
    assert 0 < run.seconds < 5
    last, first = await runs_of(broker, RunFilter(task_id=ids["again"]))
    assert [(one.outcome, one.attempt) for one in (first, last)] == [(Outcome.RETRIED, 1), (Outcome.DEAD, 2)]
    for one in (first, last, *(await runs_of(broker, RunFilter(task="bad")))):
        assert one.error == "LookupError: no {'a': 'ä'}"
        assert "in fail" in one.traceback
        assert one.result is None


async def test_a_run_says_which_task_has_sent_it(brokers: Brokers) -> None:
    broker = brokers()
    tries = 0

    async def again() -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise LookupError

    child = register_task(broker, again, name="child", max_retries=1, retry_delay=0)

    async def send() -> list[str]:
        one = await child.kiq()
        return [one.task_id, *(sent.task_id for sent in await child.kiq_many([child.call(), child.call()]))]

    parent = register_task(broker, send, name="parent")
    async with working(broker):
        sent = await parent.kiq()
        children = (await sent.wait_result(timeout=HANG)).return_value
        for task_id in children:
            await child.task(task_id).wait_result(timeout=HANG)
    runs = await runs_of(broker)
    assert {run.task_id: run.sent_by for run in runs} == {sent.task_id: None, **dict.fromkeys(children, sent.task_id)}
    assert len(runs) == 5, "a retry is sent by whom its first try was"


@pytest.mark.parametrize(
    ("which", "count"),
    [
        (RunFilter(outcome=Outcome.SUCCEEDED), 40),
        (RunFilter(outcome=Outcome.FAILED), 3),
        (RunFilter(task="bad"), 3),
        (RunFilter(queue="nobody's"), 0),
        (RunFilter(queue="default", task="bad"), 3),
        (RunFilter(queue="defaul"), 0),
        (RunFilter(text="no 'number"), 0),
        (RunFilter(text="NUMBER-39"), 1),
        (RunFilter(text="no number"), 3),
        (RunFilter(since=datetime.now(UTC) + timedelta(hours=1)), 0),
        (RunFilter(since=datetime.now(UTC) - timedelta(hours=1)), 43),
    ],
)
async def test_runs_are_found_newest_first(
    brokers: Brokers, monkeypatch: pytest.MonkeyPatch, which: RunFilter, count: int
) -> None:
    monkeypatch.setattr("kiqstart.broker.run_pages._FIRST_READ", 2)
    broker = brokers()
    good, bad = register_task(broker, echo, name="good"), register_task(broker, fail, name="bad")
    async with working(broker, max_async_tasks=3):
        for sent in await good.kiq_many(good.call(f"number-{number}") for number in range(40)):
            await sent.wait_result(timeout=HANG)
        for failing in await bad.kiq_many(bad.call("number") for _ in range(3)):
            await failing.wait_result(timeout=HANG)
    found = await runs_of(broker, which)
    assert len(found) == count
    assert [run.ended for run in found] == sorted((run.ended for run in found), reverse=True)
    assert len(await runs_of(broker, which, limit=2)) == min(count, 2)


async def test_what_is_long_is_kept_in_part_and_found_by_its_id(brokers: Brokers) -> None:
    broker = brokers()
    good, bad = register_task(broker, echo, name="good"), register_task(broker, fail, name="bad")
    async with working(broker):
        kept = await good.kicker().with_labels(long="l" * 5000).kiq("x" * 20_000)
        broken = await bad.kiq("y" * 20_000)
        for task in (kept, broken):
            await task.wait_result(timeout=HANG)
    [run] = await runs_of(broker, RunFilter(task_id=kept.task_id))
    assert run.task == "good"
    assert run.result is not None
    assert run.result.startswith('"xxx')
    assert 900 < len(run.result) < 1100
    assert run.result.endswith("…")
    [run] = await runs_of(broker, RunFilter(task_id=broken.task_id))
    assert run.arguments.startswith('"yyy')
    assert run.arguments.endswith("…")
    assert len(run.arguments) < 3000
    assert len(run.traceback) <= 4096


async def test_an_end_that_is_told_twice_is_kept_once(brokers: Brokers, wire: Wire) -> None:
    sender, worker = brokers(), brokers(url=wire.url)
    task = register_task(sender, echo, name="echo")
    register_task(worker, echo, name="echo")
    await sender.connection.client.script_load(settler._SETTLE._text)
    async with working(worker):
        wire.lose_answer_to(settler._SETTLE._sha)
        sent = [await task.kiq(), await task.kicker().with_labels(unique="one").kiq()]
        for one in sent:
            await one.wait_result(timeout=HANG)
        await eventually(lambda: _is_idle(sender))
    assert Counter(run.task_id for run in await runs_of(sender)) == {one.task_id: 1 for one in sent}


async def _is_idle(broker: StreamBroker) -> bool:
    return await cast("Redis", broker.connection.redis).xlen(broker.keys.name) == 0


async def test_of_a_batch_only_what_was_still_this_workers_is_kept(brokers: Brokers, redis: Redis) -> None:
    broker = brokers()
    gates = [asyncio.Event() for _ in range(3)]
    begun = Counter[int]()

    async def wait(number: int) -> str:
        if (delivery := current_delivery.get()) is not None and number != 2:
            delivery.lines = KeptLines(4096)
            delivery.lines.add(f"line {number}")
        begun[number] += 1
        await gates[number].wait()
        return f"number {number}"

    task = register_task(broker, wait, name="wait")
    sent = [await task.kiq(number) for number in range(3)]
    async with working(broker):

        async def all_run() -> bool:
            return len(begun) == 3

        await eventually(all_run)
        entries = [entry for entry, _ in await entries_of(redis, broker.keys.name)]
        await redis.xack(broker.keys.name, broker.consumer_group_name, entries[1])
        await redis.xdel(broker.keys.name, entries[1])
        for gate in gates:
            gate.set()
        for one in (sent[0], sent[2]):
            await one.wait_result(timeout=HANG)
    assert {(run.result, run.log) for run in await runs_of(broker)} == {('"number 0"', "line 0"), ('"number 2"', "")}


async def test_nothing_is_kept_where_that_is_switched_off(brokers: Brokers, redis: Redis, queue_name: str) -> None:
    keeping, broker = brokers(), brokers(options=StreamOptions(lease=1.0, runs_kept=0))
    task = register_task(keeping, echo, name="echo")
    async with working(keeping):
        await (await task.kiq()).wait_result(timeout=HANG)
    assert await runs_of(keeping)
    task = register_task(broker, echo, name="echo")

    async def is_gone() -> bool:
        return not any(key.startswith("runs") for key in await keys_of(redis, queue_name))

    async with working(broker):
        await (await task.kiq()).wait_result(timeout=HANG)
        await eventually(is_gone)
        await (await task.kiq()).wait_result(timeout=HANG)
        assert await is_gone()


@pytest.mark.parametrize("has_failed", [False, True])
async def test_runs_are_bounded_by_their_number_in_the_step_that_adds_them(
    brokers: Brokers, redis: Redis, *, has_failed: bool
) -> None:
    broker = brokers(options=StreamOptions(lease=1.0, runs_kept=50))

    async def end(value: str) -> None:
        if has_failed:
            await fail(value)

    many = register_task(broker, end, name="many")
    async with working(broker, max_async_tasks=7):
        for _ in range(4):
            for one in await many.kiq_many(many.call("x" * 1500) for _ in range(100)):
                await one.wait_result(timeout=HANG)
        # Redis drops a node at a time, which has up to 4 KiB, and seven runs end together.
        assert 50 <= len(await runs_of(broker)) <= 70
    assert await redis.exists(broker.keys.failed_runs if has_failed else broker.keys.runs)


class Planted:
    """Runs that have ended, as workers would have left them.

    Args:
        redis: a client that blocks.
    """

    def __init__(self, redis: SyncRedis, broker: StreamBroker) -> None:
        self.redis = redis
        self.keys = broker.keys
        seconds, _ = redis.time()
        self.now_ms = seconds * 1000

    def add(self, count: int, *, has_failed: bool = False, seconds_ago: float = 0, size: int = 10) -> None:
        """Add blocks of one run each."""
        key, name = (self.keys.failed_runs, "failed") if has_failed else (self.keys.runs, "runs")
        for _ in range(count):
            total = self.redis.hincrby(self.keys.run_counts, name, 1)
            ended = self.now_ms - round(seconds_ago * 1000)
            data = b"{}" + b" " * size
            block = b"1%b default kiq-1 host:1\n%d-0 0 0 1 0 %d 0 0\n%b" % (
                *(b"f" if has_failed else b"s", ended, len(data), data),
            )
            self.redis.xadd(key, {"runs": block}, id=f"{total}-{ended}")

    def bound(self, **options: float) -> None:
        """Do what the janitor does, seldom."""
        RunBounds(self.redis, self.keys, StreamOptions(**options)).apply()  # type: ignore[arg-type]  # whole ones

    @property
    def left(self) -> tuple[int, int]:
        """How many runs there are, and how many failed ones."""
        return self.redis.xlen(self.keys.runs), self.redis.xlen(self.keys.failed_runs)


@pytest.fixture
def planted(broker: StreamBroker, redis_url: str) -> Iterator[Planted]:
    with SyncRedis.from_url(redis_url) as client:
        yield Planted(client, broker)


@pytest.mark.parametrize("ages", [[100], [100, 45, 20], [300, 200, 150, 100, 90, 70, 50, 20, 0], [1, 0]])
def test_old_runs_are_dropped_and_failed_ones_outlive_them(planted: Planted, ages: list[int]) -> None:
    for age in ages:
        planted.add(1, seconds_ago=age)
        planted.add(1, seconds_ago=age, has_failed=True)
    planted.bound(runs_age=60)
    assert planted.left == (sum(age < 60 for age in ages), len(ages))
    assert planted.redis.exists(planted.keys.runs) == (min(ages) < 60)
    planted.bound(runs_age=5)
    assert planted.left == (sum(age < 5 for age in ages), sum(age < 35 for age in ages))


def test_a_lower_number_holds_for_what_is_there(planted: Planted) -> None:
    planted.add(200)
    planted.add(30, has_failed=True)
    planted.bound(runs_kept=100)
    assert planted.left == (101, 30)
    planted.bound(runs_kept=0)
    assert planted.left == (0, 0)
    assert not planted.redis.exists(planted.keys.runs, planted.keys.failed_runs, planted.keys.run_counts)


def test_runs_are_bounded_by_their_bytes_and_failed_ones_outlive_the_others(planted: Planted) -> None:
    def taken() -> int:
        keys = (planted.keys.runs, planted.keys.failed_runs)
        return sum(planted.redis.memory_usage(key, samples=0) or 0 for key in keys)

    planted.add(200, size=2000)
    planted.add(100, size=2000, has_failed=True)
    before = taken()
    planted.bound(runs_bytes=before // 2)
    assert taken() < before * 0.6
    assert planted.left[1] == 100
    assert 30 < planted.left[0] < 70
    planted.bound(runs_bytes=before // 10)
    assert taken() < before * 0.15
    assert all(planted.left), "of both there are some"


async def test_the_janitor_bounds_them(brokers: Brokers, planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_bounds, "_SECONDS_BETWEEN", 0.2)
    planted.add(20, seconds_ago=100)

    async def are_gone() -> bool:
        return planted.left == (0, 0)

    async with working(brokers(options=StreamOptions(lease=1.0, runs_age=50))):
        await eventually(are_gone)


@pytest.mark.parametrize("key", ["runs", "failed_runs", "run_counts"])
@pytest.mark.parametrize("kind", ["foreign", "no number", "later"])
async def test_a_history_that_cannot_be_written_changes_nothing_about_tasks(
    brokers: Brokers, redis: Redis, key: str, kind: str
) -> None:
    broker, foreign = brokers(options=StreamOptions(lease=1.0)), str(getattr(brokers().keys, key))
    if kind == "foreign":
        await redis.set(foreign, "something else")
    elif key == "run_counts":
        await redis.hset(foreign, mapping=dict.fromkeys(("runs", "failed"), "x" if kind == "no number" else "7"))
    else:
        await redis.xadd(foreign, {"odd": "entry"}, id="9" * 19 + "-1" if kind == "later" else "*")
    good, bad = register_task(broker, echo, name="good"), register_task(broker, fail, name="bad")
    async with working(broker):
        for _ in range(2):
            unique = await good.kicker().with_labels(unique="one").kiq(3)
            sent: list[AsyncTaskiqTask[Any]] = [await good.kiq(1), await bad.kiq(2), unique]
            for one, value in zip(sent, (1, None, 3), strict=True):
                result = await one.wait_result(timeout=HANG)
                assert (result.is_err, result.return_value) == (value is None, value)
    found = Counter(run.task for run in await runs_of(broker))
    if kind != "foreign" and not (kind == "later" and key != "run_counts"):
        assert found["good"] >= 2, "what is odd is no obstacle for long"
        assert found["bad"] >= 1
    assert set(found) <= {"good", "bad"}


@pytest.mark.parametrize("count", [1, 40])
async def test_a_block_is_never_large(brokers: Brokers, redis: Redis, count: int) -> None:
    broker = brokers()
    task = register_task(broker, echo, name="echo")
    sent = await task.kiq_many(task.call("x" * 3000) for _ in range(count))
    async with working(broker):
        for one in sent:
            await one.wait_result(timeout=HANG)
    blocks = [fields["runs"] for _, fields in await entries_of(redis, broker.keys.runs)]
    assert max(map(len, blocks)) <= BLOCK_BYTES
    assert len(await runs_of(broker)) == count


async def test_what_ends_is_seen_as_it_ends(brokers: Brokers) -> None:
    broker = brokers()

    async def take_milliseconds() -> None:
        await asyncio.sleep(0.005)

    good, bad = register_task(broker, take_milliseconds, name="good"), register_task(broker, fail, name="bad")
    tail = RunTail(broker.connection.redis, broker.keys)
    async with working(broker):
        await (await good.kiq()).wait_result(timeout=HANG)
        await tail.start()
        assert not await tail.read()
        for _ in range(2):
            for task in (bad, good):
                await (await task.kiq()).wait_result(timeout=HANG)
            assert [run.task for run in await tail.read()] == ["bad", "good"]


async def test_a_task_that_has_not_ended_is_found_where_it_is(brokers: Brokers) -> None:
    sender, broker = brokers(), brokers()
    runs, may_end = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        runs.set()
        await may_end.wait()

    register_task(broker, wait, name="wait")
    task = register_task(sender, wait, name="wait")
    sent, later = await task.kiq(), await task.kicker().after(3600).kiq()
    now = datetime.now(UTC)
    waiting, delayed = await find_task(sender, sent.task_id), await find_task(sender, later.task_id)
    assert waiting is not None
    assert delayed is not None
    assert (waiting.place, waiting.queue, waiting.worker) == (Place.WAITING, "default", "")
    assert abs((waiting.since - now).total_seconds()) < 5
    assert delayed.place is Place.DELAYED
    assert abs((delayed.since - now).total_seconds() - 3600) < 5
    async with working(broker):
        await asyncio.wait_for(runs.wait(), HANG)
        running = await find_task(sender, sent.task_id)
        assert running is not None
        assert (running.place, running.host, running.pid) == (Place.RUNNING, socket.gethostname(), os.getpid())
        assert running.worker == (await broker.consume()).lease.worker
        assert waiting.since - timedelta(seconds=1) <= running.since <= datetime.now(UTC) + timedelta(seconds=1)
        may_end.set()
        await sent.wait_result(timeout=HANG)
    assert await find_task(sender, sent.task_id) is None
    assert await find_task(sender, "nobody's") is None


async def test_a_task_is_found_among_those_of_many_queues_in_no_time_and_none_is_said_to_be_unknown_that_may_be_there(
    broker: StreamBroker, redis: Redis, redis_url: str, key_prefix: str
) -> None:
    names = [f"queue-{number}" for number in range(20)]
    async with redis.pipeline(transaction=False) as pipe:
        pipe.sadd(broker.keys.queues, *names)
        for name in names:
            # Messages that are large among those that are not, so that all are more than is read at once.
            for number in range(300):
                text = "y" * (200_000 if number in {7, 150} else 9)
                data = {"task_id": f"{name}'{number}", "task_name": "x", "args": [text]}
                pipe.xadd(broker.keys.stream(name), {"other": "x", "data": json.dumps(data)})
        await pipe.execute()
    await redis.set(broker.keys.returned("queue-3"), "a stranger's")
    quoted = json.dumps({"task_id": '"\u2028', "task_name": "x"})
    await redis.xadd(broker.keys.misfits("queue-4"), {"data": quoted})
    rules = ["reset", "on", ">pw", f"~{{{key_prefix}}}*", "+@read", "+client", "+select", "+ping", "+time"]
    admin = cast("ScriptClient", redis)
    await admin.execute_command("ACL", "SETUSER", key_prefix, *rules)
    looker = StreamBroker(url_as(redis_url, key_prefix, "pw"), queue_name=broker.queue_name)
    try:
        # One of them may run no scripts.
        for one in (broker, looker):
            for task_id, queue in (("queue-19'299", "queue-19"), ("queue-0'8", "queue-0"), ('"\u2028', "queue-4")):
                found = await find_task(one, task_id, seconds=HANG)
                assert found is not None
                assert (found.place, found.queue) == (Place.WAITING, queue)
            assert await find_task(one, "nobody's", seconds=HANG) is None
    finally:
        await looker.shutdown()
        await admin.execute_command("ACL", "DELUSER", key_prefix)
    with pytest.raises(TaskNotFoundInTimeError, match="not among the first 0 messages"):
        await find_task(broker, "nobody's", seconds=0.0)
    with pytest.raises(UnknownRunError, match=r"not among the first 0 messages.*no run of it is kept"):
        await read_history(broker, "nobody's", seconds=0.0)
    ended = json.dumps({"task_id": "ended", "task_name": "x"})
    block = f"1s default kiq-1 host:1\n1-0 1 1 1 0 {len(ended)} 0 0\n{ended}"
    await redis.xadd(broker.keys.runs, {"runs": block}, id="1-1790000000000")
    history = await read_history(broker, "ended", seconds=0.0)
    assert (len(history.runs), history.now) == (1, None)
    assert history.problem.startswith("it is not among the first 0 messages")


async def test_one_among_many_is_found_by_redis_itself_or_by_who_may_run_no_scripts(
    broker: StreamBroker, redis: Redis, redis_url: str, key_prefix: str
) -> None:
    keys = broker.keys
    for number in range(1, 301):
        data = json.dumps({"task_id": f"id-{number:03}", "task_name": "x", "args": ["y" * 4000]})
        block = f"1s default kiq-1 host:1\n1-0 1 1 1 0 {len(data)} 0 0\n{data}"
        await redis.xadd(keys.runs, {"runs": block}, id=f"{number}-{1_790_000_000_000 + number}")
    rules = ["reset", "on", ">pw", f"~{{{key_prefix}}}*", "+xrevrange", "+client", "+select", "+ping"]
    admin = cast("ScriptClient", redis)
    await admin.execute_command("ACL", "SETUSER", key_prefix, *rules)
    try:
        async with Redis.from_url(url_as(redis_url, key_prefix, "pw")) as looker:
            for client in (broker.connection.redis, async_commands(looker)):
                for number in (1, 150, 300):
                    which = RunFilter(task_id=f"id-{number:03}")
                    [run] = await read_runs(client, keys, which)
                    assert run.task_id == which.task_id
                assert await read_runs(client, keys, RunFilter(task_id="id-301")) == []
    finally:
        await admin.execute_command("ACL", "DELUSER", key_prefix)
