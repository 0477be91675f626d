"""How often waiters look for results, beside what they hear: in virtual time, so that no machine is too slow for it."""

import asyncio
import functools
import selectors
from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from kiqstart.broker import result_waiter as waiting
from kiqstart.broker.keys import QueueKeys
from kiqstart.broker.result_waiter import ResultWaiter
from kiqstart.redis.commands import ScriptClient
from kiqstart.redis.connections import RedisConnections

SHORTEST, LONGEST = 0.02, 0.32
# Looks after 20, 60, 140, 300, 620 and 940 ms; each 20 ms would make 50.
SECONDS, HEARD_LOOKS, MANY_LOOKS = 1.0, 7, 25


class VirtualTime(selectors.DefaultSelector):
    """Whoever waits for a timer is there at once, and the clock with him."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0.0
        return super().select(0 if timeout is not None else None)


def virtual_loop() -> asyncio.AbstractEventLoop:
    clock = VirtualTime()
    loop = asyncio.SelectorEventLoop(clock)
    loop.time = lambda: clock.now  # type: ignore[method-assign]  # all that a loop knows of time
    return loop


def in_virtual_time(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(waiter: ResultWaiter, **fixtures: object) -> None:
        async def whole() -> None:
            await test(waiter, **fixtures)
            await waiter.close()

        with asyncio.Runner(loop_factory=virtual_loop) as runner:
            runner.run(whole())

    return run


class Ears:
    """A subscription to a Redis that is not there."""

    def __init__(self) -> None:
        self.is_heard = True
        self.is_refused = False
        self.channels: set[str] = set()

    def subscription(self, _: ResultWaiter) -> "Ears":
        return self

    def join(self, channel: str) -> None:
        self.channels.add(channel)

    def leave(self, channel: str) -> None:
        self.channels.discard(channel)

    def hears(self, channel: str) -> bool:
        return self.is_heard and channel in self.channels

    async def aclose(self) -> None:
        pass


class Eyes:
    """A client to which no result ever comes, and that counts what is asked for."""

    def __init__(self) -> None:
        self.looks = 0

    async def execute_command(self, _: str, *keys: str) -> list[None]:
        self.looks += len(keys)
        return [None] * len(keys)


class SlowEyes:
    """A client whose answers come when they may: what was there when it was asked."""

    def __init__(self) -> None:
        self.result: bytes | None = b"of the earlier send"
        self.may_answer, self.is_asked = asyncio.Event(), asyncio.Event()

    async def execute_command(self, _: str, *keys: str) -> list[bytes | None]:
        seen = self.result
        self.is_asked.set()
        await self.may_answer.wait()
        return [seen] * len(keys)


@pytest.fixture
def ears() -> Ears:
    return Ears()


@pytest.fixture
def eyes() -> Eyes:
    return Eyes()


@pytest.fixture
def waiter(ears: Ears, eyes: Eyes, monkeypatch: pytest.MonkeyPatch) -> ResultWaiter:
    monkeypatch.setattr(waiting, "_SECONDS_BETWEEN_LOOKS", SHORTEST)
    monkeypatch.setattr(waiting, "_MOST_SECONDS_BETWEEN_LOOKS", LONGEST, raising=False)
    return ResultWaiter(
        cast("ScriptClient", eyes), cast("ScriptClient", eyes), cast("RedisConnections", ears), QueueKeys("tasks")
    )


@in_virtual_time
async def test_who_hears_looks_more_and_more_seldom(waiter: ResultWaiter, eyes: Eyes) -> None:
    assert await waiter.wait("id", SECONDS) is None
    assert 4 <= eyes.looks <= HEARD_LOOKS


@in_virtual_time
async def test_who_hears_nothing_looks_often(waiter: ResultWaiter, ears: Ears, eyes: Eyes) -> None:
    ears.is_heard = False
    await waiter.wait("id", SECONDS)
    assert eyes.looks > MANY_LOOKS


@in_virtual_time
async def test_who_loses_his_hearing_looks_often_from_then_on(waiter: ResultWaiter, ears: Ears, eyes: Eyes) -> None:
    task = asyncio.create_task(waiter.wait("id", 10))
    await asyncio.wait({task}, timeout=SECONDS)
    eyes.looks, ears.is_heard = 0, False
    waiter.on_lost()
    await asyncio.wait({task}, timeout=SECONDS)
    assert eyes.looks > MANY_LOOKS
    task.cancel()


@in_virtual_time
async def test_whoever_comes_after_a_refusal_looks_at_once_and_makes_nobody_else_look(
    waiter: ResultWaiter, ears: Ears, eyes: Eyes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_SECONDS_BETWEEN_LOOKS", 1e6)
    ears.is_refused, ears.is_heard = True, False
    tasks: list[asyncio.Task[bytes | None]] = []
    for number in range(100):
        tasks.append(asyncio.create_task(waiter.wait(str(number), 10)))
        await asyncio.sleep(0)
    await asyncio.wait(tasks, timeout=0.1)
    assert eyes.looks == 100
    for task in tasks:
        task.cancel()


@in_virtual_time
async def test_many_that_hear_nothing_share_a_bounded_number_of_looks(
    waiter: ResultWaiter, ears: Ears, eyes: Eyes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_LOOKS_A_SECOND", 1000)
    ears.is_heard = False
    tasks = [asyncio.create_task(waiter.wait(str(number), SECONDS)) for number in range(300)]
    await asyncio.wait(tasks, timeout=SECONDS * 0.95)
    assert 300 <= eyes.looks <= 1500
    await asyncio.gather(*tasks)


@in_virtual_time
async def test_who_has_left_is_not_looked_for(waiter: ResultWaiter, ears: Ears, eyes: Eyes) -> None:
    await waiter.wait("id", 0.001)
    eyes.looks = 0
    await asyncio.sleep(SHORTEST * 3)
    assert eyes.looks == 0
    assert ears.channels == set()


@pytest.mark.parametrize("is_large", [False, True])
async def test_whoever_begins_to_wait_does_not_get_what_was_seen_before(ears: Ears, *, is_large: bool) -> None:
    eyes = SlowEyes()
    waiter = ResultWaiter(
        cast("ScriptClient", eyes), cast("ScriptClient", eyes), cast("RedisConnections", ears), QueueKeys("tasks")
    )
    channel = QueueKeys("tasks").result("id")
    earlier = asyncio.create_task(waiter.wait("id", None))
    await asyncio.sleep(0)
    if is_large:
        waiter.on_message(channel, b"")
    else:
        waiter.on_listening(channel)
    await eyes.is_asked.wait()
    waiter.on_message(channel, b"of the earlier send")
    assert await earlier == b"of the earlier send"
    # Its id is sent anew.
    eyes.result = None
    later = asyncio.create_task(waiter.wait("id", None))
    await asyncio.sleep(0)
    waiter.on_listening(channel)
    eyes.result = b"of the later send"
    eyes.may_answer.set()
    assert await later == b"of the later send"
    await waiter.close()
