"""What is told of the times that are passed over."""

from datetime import timedelta

import pytest
from tests.kiqstart.integration.scheduler.timeline import Timeline

from kiqstart.scheduler.definition import CatchUp, ScheduleDefinition
from kiqstart.scheduler.triggers import IntervalTrigger

# The timeline begins at 08:00 on 2027-01-15.
HOUR = "2027-01-15T08:00"


def every_3_s(catch_up: CatchUp, max_catch_up: int) -> ScheduleDefinition:
    timing = IntervalTrigger(every=timedelta(seconds=3))
    return ScheduleDefinition(
        name="tick", task="work", timing=timing, catch_up=catch_up, max_catch_up=max_catch_up, misfire_grace_time=None
    )


@pytest.mark.parametrize(
    ("catch_up", "max_catch_up", "sent", "missed"),
    [
        (CatchUp.LATEST, 100, [27], f"8 times from {HOUR}:03Z to {HOUR}:24Z"),
        (CatchUp.NONE, 100, [18, 21, 24, 27], f"5 times from {HOUR}:03Z to {HOUR}:15Z"),
        (CatchUp.ALL, 2, [24, 27], f"7 times from {HOUR}:03Z to {HOUR}:21Z"),
        (CatchUp.ALL, 8, [*range(6, 28, 3)], f"at {HOUR}:03Z"),
        (CatchUp.ALL, 100, [*range(3, 28, 3)], ""),
    ],
)
async def test_what_is_not_caught_up_is_one_warning_though_later_times_are_sent(
    timeline: Timeline,
    caplog: pytest.LogCaptureFixture,
    catch_up: CatchUp,
    max_catch_up: int,
    sent: list[int],
    missed: str,
) -> None:
    ticker = timeline.ticker([every_3_s(catch_up, max_catch_up)])
    await ticker.tick()
    timeline.pass_ms(28_000)
    for _ in range(3):
        await ticker.tick()
    assert await timeline.times("tick") == [f"{HOUR}:{second:02}Z" for second in sent]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == ([f"Schedule tick was missed {missed}, which is not caught up"] if missed else [])
