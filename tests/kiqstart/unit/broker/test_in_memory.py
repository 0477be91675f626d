import time
from datetime import UTC, datetime, timedelta

import pytest
from tests.deadlines import HANG, SOON

from kiqstart.broker.in_memory import DelayingInMemoryBroker
from kiqstart.tasks.registration import register_task


async def tell_time() -> float:
    return time.monotonic()


async def test_a_delayed_task_is_run_when_it_is_due(broker: DelayingInMemoryBroker) -> None:
    task = register_task(broker, tell_time, name="tell-time")
    began = time.monotonic()
    later = await task.kicker().after(0.2).kiq()
    at = await task.kicker().at(datetime.now(UTC) + timedelta(seconds=0.2)).kiq()
    for sent in (later, at):
        ran_at = (await sent.wait_result(check_interval=0.01, timeout=HANG)).return_value
        # The wall clock and the monotonic one may differ a little.
        assert 0.19 <= ran_at - began < 0.2 + SOON


async def test_a_task_whose_time_has_passed_is_run_at_once(broker: DelayingInMemoryBroker) -> None:
    task = register_task(broker, tell_time, name="tell-time")
    sent = await task.kicker().at(datetime(2020, 1, 1, tzinfo=UTC)).kiq()
    assert not (await sent.wait_result(check_interval=0.01, timeout=HANG)).is_err


def test_a_time_without_a_zone_is_refused(broker: DelayingInMemoryBroker) -> None:
    task = register_task(broker, tell_time, name="tell-time")
    with pytest.raises(ValueError, match="has no time zone"):
        task.kicker().at(datetime(2026, 1, 1))  # noqa: DTZ001  # the point


async def test_a_retry_waits_for_its_delay(broker: DelayingInMemoryBroker) -> None:
    times: list[float] = []

    async def fail_first() -> None:
        times.append(time.monotonic())
        if len(times) == 1:
            raise OSError

    sent = await register_task(broker, fail_first, name="fail-first", max_retries=1, retry_delay=0.2).kiq()
    assert not (await sent.wait_result(check_interval=0.01, timeout=HANG)).is_err
    assert times[1] - times[0] >= 0.2


async def test_what_still_waits_is_dropped_when_the_program_ends(broker: DelayingInMemoryBroker) -> None:
    sent = await register_task(broker, tell_time, name="tell-time").kicker().after(600).kiq()
    await broker.shutdown()
    assert not broker._waiting
    assert not await sent.is_ready()
