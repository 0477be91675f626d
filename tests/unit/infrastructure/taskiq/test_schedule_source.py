from datetime import UTC, datetime, timedelta

import pytest
from taskiq.exceptions import ScheduledTaskCancelledError

from kiqstart.infrastructure.taskiq.schedule_source import LocalOccurrenceClaims, OccurrenceSource
from kiqstart.infrastructure.taskiq.schedules import CronSchedule, IntervalSchedule


class TakenClaims:
    """Claims that another scheduler has made already."""

    async def claim(self, occurrence_id: str) -> bool:  # noqa: ARG002  # the protocol's parameter
        return False

    async def close(self) -> None: ...


async def test_occurrences_are_one_shots_with_their_time_in_the_id() -> None:
    tick = IntervalSchedule(name="tick", task="ping", every=timedelta(minutes=5), arguments={"days": 3})
    source = OccurrenceSource([tick], LocalOccurrenceClaims())
    await source.startup()
    started = datetime.now(UTC)
    coming = await source.get_schedules()
    assert len(coming) == 3
    for one in coming:
        assert one.time is not None
        assert one.time > started
        assert one.schedule_id == f"tick@{one.time:%Y-%m-%dT%H:%M:%SZ}"
        assert one.labels["scheduled_at"] == f"{one.time:%Y-%m-%dT%H:%M:%SZ}"
        assert (one.task_name, one.kwargs, one.cron, one.interval) == ("ping", {"days": 3}, None, None)


async def test_nothing_is_handed_out_long_before_it_is_due() -> None:
    now = datetime.now(UTC)
    in_an_hour = now + timedelta(hours=1)
    nightly = CronSchedule(name="nightly", task="ping", cron=f"{in_an_hour.minute} {in_an_hour.hour} * * *")
    source = OccurrenceSource([nightly], LocalOccurrenceClaims())
    await source.startup()
    assert await source.get_schedules() == []


async def test_what_another_scheduler_has_claimed_is_not_sent() -> None:
    source = OccurrenceSource([IntervalSchedule(name="tick", task="ping", every=timedelta(minutes=5))], TakenClaims())
    await source.startup()
    [first, *_] = await source.get_schedules()
    with pytest.raises(ScheduledTaskCancelledError):
        await source.pre_send(first)
