import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from itertools import count

import pytest
import pytest_asyncio
from taskiq import InMemoryBroker, TaskiqMessage, TaskiqMiddleware
from tests.deadlines import HANG

from kiqstart.scheduler import message_builder as module
from kiqstart.scheduler.definition import CatchUp, ScheduleDefinition
from kiqstart.scheduler.due import DueSchedule
from kiqstart.scheduler.firing import FireRequest, Outcome
from kiqstart.scheduler.message_builder import MessageBuilder
from kiqstart.scheduler.triggers import CronTrigger, IntervalTrigger
from kiqstart.testing import eventually

NOW = 1_777_593_600_000
Hook = Callable[[], Awaitable[None]]


class Hooked(TaskiqMiddleware):
    """Does to the messages of one task whatever a test asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.hook: Hook | None = None

    async def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        if self.hook is not None and message.task_name == "ill":
            await self.hook()
        return message


def due(task: str, now: int = NOW) -> DueSchedule:
    definition = ScheduleDefinition(name=f"{task}-daily", task=task, timing=IntervalTrigger(every=timedelta(days=1)))
    return DueSchedule(name=definition.name, due_ms=now, data=definition.dump())


ILL, SOUND = due("ill"), due("sound")


@pytest.fixture
def middleware() -> Hooked:
    return Hooked()


@pytest.fixture(autouse=True)
def _steady_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadline passes by looks, and not while a busy machine does something else."""
    looks = count()
    monkeypatch.setattr(module, "local_time", lambda: next(looks) / 50)


@pytest_asyncio.fixture
async def attempts(middleware: Hooked) -> AsyncGenerator[MessageBuilder]:
    made = MessageBuilder(InMemoryBroker().with_middlewares(middleware), deadline=0.15)
    yield made
    made.cancel()


def names(firings: list[FireRequest]) -> list[str]:
    return [firing.due.name for firing in firings]


async def given_up(attempts: MessageBuilder, ill: DueSchedule = ILL, now: int = NOW + 100) -> FireRequest:
    """What is done at the deadline."""
    async with asyncio.timeout(HANG):
        while True:
            for firing in await attempts.firings([ill], now):
                return firing
            await asyncio.sleep(0.01)


async def hang() -> None:
    await asyncio.Event().wait()


async def fail() -> None:
    raise ZeroDivisionError("no good")


async def cancel() -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("hook", "problem"),
    [(hang, "a middleware hangs"), (fail, "ZeroDivisionError: no good"), (cancel, "CancelledError: ")],
)
async def test_one_that_cannot_be_sent_holds_up_no_other_and_is_given_up_at_the_deadline(
    attempts: MessageBuilder, middleware: Hooked, caplog: pytest.LogCaptureFixture, hook: Hook, problem: str
) -> None:
    middleware.hook = hook
    assert names(await attempts.firings([ILL, SOUND], NOW)) == ["sound-daily"]
    assert names(await attempts.firings([ILL], NOW + 50)) == []
    firing = await given_up(attempts)
    assert (firing.outcome, firing.message) == (Outcome.FAILED, None)
    assert (firing.expected_ms, firing.following_ms) == (NOW, NOW + 86_400_000)
    messages = [record.message for record in caplog.records]
    assert messages[0] == f"Schedule ill-daily cannot be sent, trying again: {problem}"
    assert messages[-1] == f"Schedule ill-daily is not sent for 2026-05-01T00:00:00Z: {problem}"
    assert len(messages) == 2, "the same problem is told once"


@pytest.mark.parametrize(
    ("catch_up", "following_ms"),
    [(CatchUp.ALL, NOW - 8000), (CatchUp.NONE, NOW - 8000), (CatchUp.LATEST, NOW + 1000)],
)
async def test_what_became_due_while_a_time_was_tried_is_not_given_up_with_it(
    attempts: MessageBuilder, middleware: Hooked, catch_up: CatchUp, following_ms: int
) -> None:
    """Of the latest missed time, the one that was tried when it was begun."""
    middleware.hook = fail
    timing = IntervalTrigger(every=timedelta(seconds=1))
    definition = ScheduleDefinition(name="ill", task="ill", timing=timing, catch_up=catch_up)
    missed = DueSchedule(name="ill", due_ms=NOW - 9000, data=definition.dump())
    assert await attempts.firings([missed], NOW) == []
    firing = await given_up(attempts, missed, NOW + 60_000)
    assert (firing.outcome, firing.expected_ms, firing.following_ms) == (Outcome.FAILED, NOW - 9000, following_ms)


async def test_one_that_recovers_is_sent(attempts: MessageBuilder, middleware: Hooked) -> None:
    middleware.hook = fail
    assert await attempts.firings([ILL], NOW) == []
    middleware.hook = None
    assert names(await attempts.firings([ILL], NOW + 50)) == ["ill-daily"]


async def test_a_slow_message_is_sent_when_it_is_made_however_long_ago_it_was_begun(
    attempts: MessageBuilder, middleware: Hooked
) -> None:
    begun, made = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        assert not begun.is_set(), "it is made once"
        begun.set()
        await made.wait()

    middleware.hook = slow
    assert await attempts.firings([ILL], NOW) == []
    made.set()
    await asyncio.sleep(0)
    assert names(await attempts.firings([ILL], NOW + 3000)) == ["ill-daily"]


async def test_what_is_due_soon_is_made_ahead_and_sent_at_its_time(
    attempts: MessageBuilder, middleware: Hooked
) -> None:
    assert await attempts.firings([ILL], NOW - 700) == []
    await asyncio.sleep(0)
    middleware.hook = fail
    (firing,) = await attempts.firings([ILL], NOW + 20)
    assert firing.message is not None
    assert "scheduled_late" not in firing.message.labels


async def test_what_was_made_ahead_is_made_anew_where_it_is_sent_late(attempts: MessageBuilder) -> None:
    await attempts.firings([ILL], NOW - 700)
    await asyncio.sleep(0)
    (firing,) = await attempts.firings([ILL], NOW + 86_400_000 + 5000)
    assert firing.send_ms == NOW + 86_400_000
    assert firing.message is not None
    assert firing.message.labels["scheduled_late"] == "5.0"


async def test_what_came_to_nothing_is_made_anew(attempts: MessageBuilder) -> None:
    assert len(await attempts.firings([SOUND], NOW)) == 1
    (firing,) = await attempts.firings([SOUND], NOW + 86_400_000)
    assert firing.send_ms == NOW + 86_400_000


async def test_what_the_store_refuses_is_given_up_at_the_deadline(attempts: MessageBuilder) -> None:
    (firing,) = await attempts.firings([ILL], NOW)
    async with asyncio.timeout(HANG):
        while firing.outcome is not Outcome.FAILED:
            attempts.fail(firing, "WRONGTYPE")
            await asyncio.sleep(0.01)
            (firing,) = await attempts.firings([ILL], NOW + 50)


async def test_what_cannot_be_read_is_told_apart_and_tried_no_more(attempts: MessageBuilder) -> None:
    broken = DueSchedule(name="broken", due_ms=NOW, data=b"no JSON")
    assert names(await attempts.firings([broken, SOUND], NOW)) == ["sound-daily"]
    ((skipped, problem),) = attempts.unreadable.values()
    assert skipped == broken
    assert problem.startswith("Invalid JSON")
    await attempts.firings([], NOW)
    assert attempts.unreadable == {}


async def leave() -> None:
    raise SystemExit(3)


class Odd(BaseException):
    def __str__(self) -> str:
        raise ValueError("nothing can be said of it")


async def go_odd() -> None:
    raise Odd


async def end_generator() -> None:
    raise GeneratorExit


@pytest.mark.parametrize(
    ("hook", "problem"),
    [
        (leave, "SendFailedError: SystemExit: 3"),
        (go_odd, "SendFailedError: Odd: <Odd without a text>"),
        (end_generator, "GeneratorExit: "),
    ],
)
async def test_a_hook_that_raises_what_no_hook_should_harms_its_own_schedule_alone(
    attempts: MessageBuilder, middleware: Hooked, caplog: pytest.LogCaptureFixture, hook: Hook, problem: str
) -> None:
    middleware.hook = hook
    assert names(await attempts.firings([ILL, SOUND], NOW)) == ["sound-daily"]
    assert (await given_up(attempts)).outcome is Outcome.FAILED
    assert caplog.records[0].message == f"Schedule ill-daily cannot be sent, trying again: {problem}"


async def test_a_hook_that_does_not_let_itself_be_cancelled_is_called_no_further_time(
    attempts: MessageBuilder, middleware: Hooked
) -> None:
    calls: list[int] = []
    end = asyncio.Event()

    async def stubborn() -> None:
        calls.append(1)
        while not end.is_set():
            with suppress(asyncio.CancelledError):
                await end.wait()

    middleware.hook = stubborn
    try:
        await given_up(attempts)
        for day in range(1, 4):
            later = due("ill", NOW + day * 86_400_000)
            assert names(await attempts.firings([later, SOUND], later.due_ms)) == ["sound-daily"]
        assert calls == [1]
    finally:
        end.set()
    await asyncio.sleep(0)
    middleware.hook = None
    later = due("ill", NOW + 4 * 86_400_000)
    assert names(await attempts.firings([later], later.due_ms)) == ["ill-daily"]


async def test_what_takes_long_to_compute_lets_others_be_sent() -> None:
    attempts = MessageBuilder(InMemoryBroker(), deadline=30)
    minutely = ScheduleDefinition(
        name="many", task="sound", timing=CronTrigger(expression="* * * * *"), catch_up=CatchUp.ALL, max_catch_up=10_000
    )
    many = DueSchedule(name="many", due_ms=NOW - 86_400_000 * 30, data=minutely.dump())
    assert "sound-daily" in names(await attempts.firings([many, SOUND], NOW))
    found: list[FireRequest] = []

    async def is_made() -> bool:
        found.extend(await attempts.firings([many], NOW))
        return bool(found)

    await eventually(is_made)
    assert len(found) == 200
    assert found[0].send_ms == NOW - 9_999 * 60_000
    assert [one.expected_ms for one in found[1:]] == [one.following_ms for one in found[:-1]]
