"""What is due while its queue is full."""

from datetime import timedelta

import pytest
from tests.kiqstart.integration.scheduler.timeline import Timeline

from kiqstart.redis.commands import async_commands
from kiqstart.scheduler.definition import ScheduleDefinition
from kiqstart.scheduler.redis_store import RedisScheduleStore
from kiqstart.scheduler.scheduler_loop import SchedulerLoop
from kiqstart.scheduler.triggers import IntervalTrigger

EVERY = IntervalTrigger(every=timedelta(seconds=1))
TICK = ScheduleDefinition(name="tick", task="work", timing=EVERY)
ELSEWHERE = ScheduleDefinition(name="elsewhere", task="work", timing=EVERY, labels={"queue_name": "other"})


@pytest.fixture
def limited(timeline: Timeline) -> Timeline:
    """Of whose queues each holds two tasks."""
    timeline.store = RedisScheduleStore(
        lambda: async_commands(timeline.redis), timeline.keys, clock=lambda: timeline.now, queue_limit=2
    )
    return timeline


async def pass_seconds(timeline: Timeline, ticker: SchedulerLoop, seconds: int) -> None:
    for _ in range(seconds):
        timeline.pass_ms(1000)
        for _ in range(5):
            await ticker.tick()


async def test_it_is_sent_when_there_is_room_and_other_queues_go_on(
    limited: Timeline, caplog: pytest.LogCaptureFixture
) -> None:
    ticker = limited.ticker([TICK, ELSEWHERE])
    await ticker.tick()
    await pass_seconds(limited, ticker, 2)
    assert len(await limited.sent()) == 2
    await limited.redis.delete(limited.keys.stream("other"))
    await pass_seconds(limited, ticker, 2)
    assert len(await limited.sent()) == 2
    assert len(await limited.sent("other")) == 2
    told = [record.getMessage() for record in caplog.records if "tick cannot be sent" in record.getMessage()]
    assert len(told) == 1
    assert "TASKS_QUEUE_LIMIT" in told[0]
    await limited.redis.xtrim(limited.keys.name, maxlen=0)
    await pass_seconds(limited, ticker, 1)
    sent = await limited.sent()
    assert sent
    assert all(one.startswith("tick@") for one in sent)


async def test_a_time_that_finds_no_room_until_the_deadline_counts_as_failed_and_the_next_is_sent(
    limited: Timeline,
) -> None:
    ticker = limited.ticker([TICK], deadline=0.0)
    await ticker.tick()
    await pass_seconds(limited, ticker, 4)
    assert len(await limited.sent()) == 2
    await limited.redis.xtrim(limited.keys.name, maxlen=0)
    await pass_seconds(limited, ticker, 2)
    assert len(await limited.sent()) >= 1
