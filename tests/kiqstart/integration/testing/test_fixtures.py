"""The fixtures of the plugin that need no worker process, on an application of its own without a database."""

import signal
from collections.abc import Awaitable, Callable, Generator
from datetime import date

import pytest
from tests.deadlines import HANG
from tests.kiqstart.integration.testing.small_app import RAN, Tasks

from kiqstart import InvalidTaskArgumentsError
from kiqstart.testing import Enqueued

Drain = Callable[..., Awaitable[None]]


@pytest.fixture(autouse=True)
def nothing_ran() -> Generator[None]:
    RAN.clear()
    yield
    RAN.clear()


async def test_inline_a_task_has_run_when_its_send_returns(inline: Tasks) -> None:
    task = await inline.report.kiq(7)
    assert RAN == ["report 7"]
    assert await task.result(timeout=HANG) == "7 2026-01-01 1"


async def test_inline_all_tries_and_delays_are_over_at_once(inline: Tasks) -> None:
    task = await inline.flaky.kiq()
    assert await task.result(timeout=HANG) == 3
    await inline.chain.kicker().after(3600).kiq(2)
    assert RAN == ["flaky 1", "flaky 2", "flaky 3", "chain 2", "chain 1", "chain 0"]


async def test_a_task_that_was_sent_is_found_by_the_arguments_that_are_named(
    registry: Tasks, enqueued: Enqueued
) -> None:
    await registry.report.kiq(7)
    await registry.report.kicker().after(600).kiq(user_id=8, day=date(2026, 2, 3))
    [message] = await enqueued(registry.report, 7)
    assert message.labels["queue_name"] == "reports"
    assert len(await enqueued(registry.report)) == 2
    await enqueued(registry.report, copies=1)
    await enqueued(registry.report, 8, day="2026-02-03")
    with pytest.raises(AssertionError, match=r"report with user_id=9 is not enqueued; what is: report\(7\), report\("):
        await enqueued(registry.report, 9)
    with pytest.raises(AssertionError, match="flaky is not enqueued"):
        await enqueued(registry.flaky)
    with pytest.raises(InvalidTaskArgumentsError, match="got an unexpected keyword argument 'user'"):
        await enqueued(registry.report, user=7)


async def test_draining_runs_all_queues_further_tries_and_what_is_delayed(
    registry: Tasks, drain: Drain, enqueued: Enqueued
) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    report, flaky = await registry.report.kicker().after(600).kiq(7), await registry.flaky.kiq()
    chain = await registry.chain.kiq(1)
    await drain()
    assert sorted(RAN) == ["chain 0", "chain 1", "flaky 1", "flaky 2", "flaky 3", "report 7"]
    assert await report.result(timeout=HANG) == "7 2026-01-01 1"
    assert await flaky.result(timeout=HANG) == 3
    await chain.result(timeout=HANG)
    with pytest.raises(AssertionError, match="what is: nothing"):
        await enqueued(registry.report)
    assert handlers == [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    # A second one finds nothing, and ends.
    await drain()


async def test_what_cannot_be_drained_in_time_is_named(registry: Tasks, drain: Drain) -> None:
    await registry.chain.kiq(1_000_000)
    with pytest.raises(TimeoutError, match=r"after 0\.5 s there are still tasks in the queues: chain"):
        await drain(timeout=0.5)
