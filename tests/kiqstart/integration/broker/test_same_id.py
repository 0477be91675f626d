"""An id that is sent again while its earlier task has not ended: the result is that of the latest send."""

import asyncio

import pytest
from redis.asyncio import Redis
from taskiq import Context, TaskiqDepends
from tests.deadlines import HANG
from tests.kiqstart.integration.broker.brokers import Brokers, working

from kiqstart.broker.broker import StreamBroker
from kiqstart.tasks.registration import register_task
from kiqstart.testing import eventually


class Runs:
    """Runs by name, each of which ends when it may; those named may fail once before."""

    def __init__(self, *fail_once: str) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.may_end = {name: asyncio.Event() for name in ("earlier", "later")}
        self._fail_once = set(fail_once) & set(self.may_end)

    async def run(self, name: str) -> str:
        """Run."""
        self.begun.append(name)
        if name in self._fail_once:
            self._fail_once.discard(name)
            raise OSError
        await self.may_end[name].wait()
        self.ended.append(name)
        return name

    async def both_run(self) -> bool:
        """Whether both run, behind their failures."""
        return not self._fail_once and set(self.begun) == {"earlier", "later"}

    async def both_ended(self) -> bool:
        """Whether both have ended."""
        return len(self.ended) == 2


async def is_settled(redis: Redis, broker: StreamBroker) -> bool:
    return not (await redis.xlen(broker.keys.stream("default")) or await redis.exists(broker.keys.latest))


@pytest.mark.parametrize("first", ["earlier", "later"])
@pytest.mark.parametrize("fails_once", ["neither", "earlier", "later"])
@pytest.mark.parametrize("own_id", [True, False])
async def test_whichever_ends_first_the_result_is_that_of_the_later_one(
    brokers: Brokers, redis: Redis, first: str, fails_once: str, own_id: bool
) -> None:
    worker, sender, runs = brokers(), brokers(), Runs(fails_once)
    register_task(worker, runs.run, name="run", max_retries=1, retry_delay=0.01)
    task = register_task(sender, runs.run, name="run", max_retries=1, retry_delay=0.01)
    async with working(worker):
        earlier = await (task.kicker().with_task_id("mine") if own_id else task.kicker()).kiq("earlier")
        later = await task.kicker().with_task_id(earlier.task_id).kiq("later")
        await eventually(runs.both_run)
        last = "later" if first == "earlier" else "earlier"
        waiting = asyncio.create_task(later.wait_result(timeout=HANG))
        runs.may_end[first].set()
        await eventually(lambda: has_ended(runs, first))
        runs.may_end[last].set()
        assert (await waiting).return_value == "later"
        await eventually(runs.both_ended)
        await eventually(lambda: is_settled(redis, sender))
        assert (await later.get_result()).return_value == "later"
        assert (await earlier.get_result()).return_value == "later"


async def has_ended(runs: Runs, name: str) -> bool:
    return name in runs.ended


async def test_a_task_that_sends_itself_again_while_it_runs_has_its_own_outcome(brokers: Brokers, redis: Redis) -> None:
    worker, sender = brokers(), brokers()
    tries: list[str] = []

    async def again(context: Context = TaskiqDepends()) -> int:
        tries.append(context.message.task_id)
        if len(tries) == 1:
            await (
                register_task(brokers(), again, name="unused")
                .kicker()
                .with_broker(worker)
                .with_task_id(context.message.task_id)
                .kiq()
            )
        return len(tries)

    register_task(worker, again, name="again")
    register_task(worker, again, name="unused")
    async with working(worker):
        sent = await register_task(sender, again, name="again").kicker().with_task_id("mine").kiq()
        assert await sent.result(timeout=HANG) == 2
        await eventually(lambda: is_settled(redis, sender))


async def test_a_dead_letter_that_is_sent_again_has_its_own_outcome(brokers: Brokers, redis: Redis) -> None:
    worker, sender = brokers(), brokers()
    tries: list[int] = []

    async def fail_twice() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise OSError
        return len(tries)

    register_task(worker, fail_twice, name="fail", max_retries=1, retry_delay=0.01)
    async with working(worker):
        task = register_task(sender, fail_twice, name="fail", max_retries=1, retry_delay=0.01)
        sent = await task.kicker().with_task_id("mine").kiq()
        assert isinstance((await sent.wait_result(timeout=HANG)).error, OSError)
        [letter] = await sender.dead_letters.list()
        await sender.dead_letters.retry(letter.id)
        assert await sent.result(timeout=HANG) == 3
        await eventually(lambda: is_settled(redis, sender))
