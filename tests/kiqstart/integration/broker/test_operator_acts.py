"""What operators and callers ask for once is done, or they are told what may have been done."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis.exceptions import RedisError
from taskiq import ScheduledTask
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, working
from tests.kiqstart.integration.broker.wire import Wire
from tests.kiqstart.integration.redis.servers import Server, make_server, running
from tests.network.relay import Then

from kiqstart.broker.broker import StreamBroker
from kiqstart.broker.cancellation import CancelOutcome
from kiqstart.broker.dead_letter import DeadLetterNotFoundError
from kiqstart.broker.delivery import DeadLetterReason
from kiqstart.broker.operator_acts import UnansweredError
from kiqstart.broker.options import StreamOptions
from kiqstart.scheduler.conversions import ScheduleError
from kiqstart.scheduler.source import DurableScheduleSource
from kiqstart.tasks.registration import register_task
from kiqstart.tasks.results.errors import TaskCancelledError

CHANGING = (b"EVAL", b"XDEL", b"XTRIM", b"ZREM")
HURRIED = StreamOptions(lease=1.0, send_deadline=0.5)


async def work(number: int = 1) -> int:
    return number


class Bench:
    """A broker with a dead letter, a schedule, and a task in each place but a worker's hands."""

    def __init__(self, broker: StreamBroker) -> None:
        self.broker = broker
        self.task = register_task(broker, work, name="work")
        self.schedules = DurableScheduleSource(broker).schedules

    async def fill(self) -> None:
        self.delayed = (await self.task.kicker().after(60).kiq()).task_id
        self.waiting = (await self.task.kiq()).task_id
        self.letters: list[str] = []
        for number in range(4):
            message = self.task.kicker()._prepare_message(number)
            await self.broker.bury(self.broker.formatter.dumps(message), DeadLetterReason.RETRIES_EXHAUSTED, "why")
        self.letters = [letter.id for letter in await self.broker.dead_letters.list()]
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        for name in ("one", "two"):
            await self.schedules.add(
                ScheduledTask(task_name="work", labels={}, args=[], kwargs={}, schedule_id=name, time=tomorrow)
            )

    async def act(self) -> list[object]:
        """All that an operator does, with what the acts give."""
        letters, schedules = self.broker.dead_letters, self.schedules
        given: list[object] = [await self.broker.cancel(self.delayed), await self.broker.cancel(self.waiting)]
        assert (await letters.retry(self.letters[0])).id == self.letters[0]
        await letters.purge(self.letters[1])
        given += [await letters.purge_older_than(3600), await letters.purge_all()]
        await schedules.pause("one")
        await schedules.resume("one")
        await schedules.remove("two")
        return [*given, await letters.count(), [one.definition.name async for one in schedules.all()]]


DONE = [CancelOutcome.DELAYED, CancelOutcome.WAITING, 0, 2, 0, ["one"]]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(make_server(tmp_path / "redis")) as server:
        yield server


async def test_all_acts_are_done_while_redis_is_full(server: Server, queue_name: str) -> None:
    brokers = Brokers(f"redis://127.0.0.1:{server.port}", queue_name)
    broker = brokers(options=HURRIED)
    began = asyncio.Event()

    async def run() -> None:
        began.set()
        await asyncio.Event().wait()

    bench = Bench(broker)
    await bench.fill()
    worker = brokers(queues={"other": 1})
    tasks = [register_task(one, run, name="run", queue="other") for one in (broker, worker)]
    async with working(worker):
        running_one = await tasks[0].kiq()
        await began.wait()
        server.ask("CONFIG", "SET", "maxmemory", 1)
        assert await broker.cancel(running_one.task_id) is CancelOutcome.RUNNING
        assert isinstance((await running_one.wait_result(timeout=HANG)).error, TaskCancelledError)
        assert await bench.act() == DONE
        server.ask("CONFIG", "SET", "maxmemory", 0)
    await brokers.close()


async def test_an_act_whose_answer_is_lost_says_what_it_has_done(
    brokers: Brokers, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct, lossy = Bench(brokers()), Bench(brokers(url=wire.url, options=StreamOptions(lease=1.0)))
    await direct.fill()
    # From now on Redis knows the scripts.
    assert await direct.act() == DONE
    await lossy.fill()
    lost: set[bytes] = set()

    def lose_first_answer(data: bytes) -> tuple[bytes, Then]:
        is_new = data not in lost and any(command in data for command in CHANGING)
        lost.update([data] if is_new else [])
        return data, Then.LOSE_ANSWER if is_new else Then.GO_ON

    monkeypatch.setattr(wire, "on_request", lose_first_answer)
    assert await lossy.act() == DONE
    # Two steps of one cancel and three of the other, and one of each other act. The further try of a cancel is another
    # request: it says that it is one.
    assert len(lost) == 14
    assert await lossy.broker.cancel(lossy.waiting) is CancelOutcome.ENDED
    for letter in lossy.letters[:2]:
        with pytest.raises(DeadLetterNotFoundError):
            await lossy.broker.dead_letters.retry(letter)
    with pytest.raises(ScheduleError):
        await lossy.schedules.remove("two")


ACTS: list[tuple[Callable[[Bench], Awaitable[object]], str]] = [
    (lambda bench: bench.broker.cancel(bench.waiting), "task '{waiting}' may be cancelled or not: cancel it again"),
    (lambda bench: bench.broker.dead_letters.retry(bench.letters[0]), "dead letter {letter} may have been sent again"),
    (lambda bench: bench.broker.dead_letters.purge(bench.letters[0]), "dead letter {letter} may have been dropped"),
    (lambda bench: bench.broker.dead_letters.purge_all(), "dead letters may have been dropped"),
    (lambda bench: bench.schedules.pause("one"), "schedule 'one' may be paused"),
    (lambda bench: bench.schedules.remove("one"), "schedule 'one' may be removed"),
]


@pytest.mark.parametrize(("act", "said"), ACTS, ids=["cancel", "retry", "purge", "purge all", "pause", "remove"])
async def test_an_act_that_is_never_answered_says_what_may_have_been_done(
    brokers: Brokers,
    wire: Wire,
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[[Bench], Awaitable[object]],
    said: str,
) -> None:
    bench = Bench(brokers(url=wire.url, options=HURRIED))
    await bench.fill()

    def lose_answer(data: bytes) -> tuple[bytes, Then]:
        return data, Then.LOSE_ANSWER if any(command in data for command in CHANGING) else Then.GO_ON

    monkeypatch.setattr(wire, "on_request", lose_answer)
    with pytest.raises(UnansweredError) as caught:
        await act(bench)
    text = str(caught.value)
    assert text.endswith(f"(tried for 0.5 s); {said.format(waiting=bench.waiting, letter=bench.letters[0])}")
    assert "\n" not in text


async def test_a_cancel_that_is_interrupted_says_that_the_task_is_cancelled(
    brokers: Brokers, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, other = Bench(brokers(url=wire.url, options=HURRIED)), brokers()
    register_task(other, work, name="work")
    await bench.fill()

    def cut(data: bytes) -> tuple[bytes, Then]:
        return data, Then.CUT if b"SMEMBERS" in data else Then.GO_ON

    monkeypatch.setattr(wire, "on_request", cut)
    with pytest.raises(UnansweredError, match=rf"^task '{bench.waiting}' is marked as cancelled, but what was found"):
        await bench.broker.cancel(bench.waiting)
    async with working(other):
        result = await other.result_backend.wait(bench.waiting, 5.0)  # type: ignore[attr-defined]  # ours can
    assert isinstance(result.error, TaskCancelledError)


async def test_an_act_that_redis_refuses_until_the_deadline_says_that_nothing_was_done(
    server: Server, queue_name: str
) -> None:
    brokers = Brokers(f"redis://127.0.0.1:{server.port}/0", queue_name)
    bench = Bench(brokers(options=HURRIED))
    await bench.fill()
    server.ask("CONFIG", "SET", "min-replicas-to-write", "1")
    for act, _ in ACTS:
        with pytest.raises(UnansweredError, match=r"^NOREPLICAS .* \(tried for 0\.5 s\); nothing was done$"):
            await act(bench)
    server.ask("CONFIG", "SET", "min-replicas-to-write", "0")
    assert await bench.act() == DONE
    await brokers.close()


async def test_an_act_on_a_redis_that_is_away_fails_at_once(brokers: Brokers, wire: Wire) -> None:
    bench = Bench(brokers(url=wire.url))
    await bench.fill()
    wire.is_down = True
    wire.cut()
    began = asyncio.get_running_loop().time()
    for act, _ in ACTS:
        with pytest.raises(RedisError) as caught:
            await act(bench)
        assert not isinstance(caught.value, UnansweredError)
    assert asyncio.get_running_loop().time() - began < 2
