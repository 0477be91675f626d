"""What becomes of due times is counted, by whoever takes the step."""

import asyncio
from datetime import timedelta

from tests.kiqstart.integration.scheduler.timeline import Timeline

from kiqstart.redis.commands import async_commands
from kiqstart.scheduler.definition import CatchUp, ScheduleDefinition
from kiqstart.scheduler.scheduler_stats import DueOutcome, SchedulerStats, read_schedule_stats
from kiqstart.scheduler.triggers import IntervalTrigger


def every(seconds: int, name: str, catch_up: CatchUp) -> ScheduleDefinition:
    timing = IntervalTrigger(every=timedelta(seconds=seconds))
    return ScheduleDefinition(name=name, task="work", timing=timing, catch_up=catch_up)


async def test_each_due_time_is_counted_once_by_schedule(timeline: Timeline) -> None:
    table = [every(60, "all", CatchUp.ALL), every(60, "none", CatchUp.NONE), every(1, "added", CatchUp.LATEST)]
    # Two schedulers, of which only one takes each step; a schedule that neither counts by its name.
    both = [SchedulerStats(timeline.keys, ["all", "none"]) for _ in range(2)]
    tickers = [timeline.ticker(table, name=f"{number}", stats=stats) for number, stats in enumerate(both)]
    for milliseconds in (0, 60_020, 150_000):
        timeline.pass_ms(milliseconds)
        # Both see what is due, and ask for the same steps.
        await asyncio.gather(*(ticker.tick() for ticker in tickers))
    for stats in both:
        await stats.flush(timeline.redis, at_once=True)
        await stats.flush(timeline.redis, at_once=True)
    found = await read_schedule_stats(async_commands(timeline.redis), timeline.keys)
    assert found.outcomes == {
        "": {DueOutcome.SENT: 2, DueOutcome.MISSED: 59 + 149},
        "all": {DueOutcome.SENT: 1, DueOutcome.CAUGHT_UP: 2},
        "none": {DueOutcome.SENT: 1, DueOutcome.MISSED: 2},
    }
    assert found.lateness.count == 6
    assert sum(found.lateness.counts[:2]) == 4, "those that were at most 0.05 s late"


async def test_what_a_scheduler_has_counted_is_added_every_few_seconds(timeline: Timeline) -> None:
    stats = SchedulerStats(timeline.keys, ["all"])
    ticker = timeline.ticker([every(60, "all", CatchUp.ALL)], stats=stats)
    await ticker.tick()
    timeline.pass_ms(60_000)
    await ticker.tick()
    await stats.flush(timeline.redis)
    assert not (await read_schedule_stats(async_commands(timeline.redis), timeline.keys)).outcomes, (
        "that is no time for it"
    )
    await stats.flush(timeline.redis, at_once=True)
    assert (await read_schedule_stats(async_commands(timeline.redis), timeline.keys)).outcomes == {
        "all": {DueOutcome.SENT: 1}
    }


async def test_a_key_that_holds_something_else_spoils_no_schedule(timeline: Timeline) -> None:
    stats = SchedulerStats(timeline.keys, ["all"])
    await timeline.redis.set(timeline.keys.schedule_stats, "something else")
    ticker = timeline.ticker([every(60, "all", CatchUp.ALL)], stats=stats)
    await ticker.tick()
    timeline.pass_ms(60_000)
    await ticker.tick()
    await stats.flush(timeline.redis, at_once=True)
    assert await timeline.times("all"), "it is sent all the same"
