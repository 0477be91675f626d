from itertools import pairwise

import pytest
from tests.clock import Clock

from kiqstart.retention import progress
from kiqstart.retention.progress import ProgressMeter, RetentionProgress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock(100.0)
    monkeypatch.setattr(progress, "monotonic", made)
    return made


@pytest.fixture
def seen() -> list[RetentionProgress]:
    return []


@pytest.fixture
def meter(clock: Clock, seen: list[RetentionProgress]) -> ProgressMeter:
    async def collect(one: RetentionProgress) -> None:
        seen.append(one)

    return ProgressMeter(collect, clock())


async def test_progress_comes_ten_times_a_second_and_at_the_end(
    clock: Clock, meter: ProgressMeter, seen: list[RetentionProgress]
) -> None:
    for batch in range(1, 101):
        clock.now = 100.0 + batch / 64
        await meter.report(batch, 200, None)
    await meter.report_end(100, is_complete=True)

    assert len(seen) == 1 + 14 + 1
    assert seen[0] == RetentionProgress(deleted=1, total=200, fraction=0.005, seconds=1 / 64, rate=64.0, eta=199 / 64)
    assert seen[-1] == RetentionProgress(deleted=100, total=100, fraction=1.0, seconds=100 / 64, rate=64.0, eta=0.0)
    assert all(later.seconds - earlier.seconds >= 0.1 for earlier, later in pairwise(seen[:-1]))


async def test_the_rate_is_that_of_this_process(
    clock: Clock, meter: ProgressMeter, seen: list[RetentionProgress]
) -> None:
    clock.now = 110.0
    meter.begin(1000)
    clock.now = 114.0
    await meter.report(1200, 2000, None)
    assert (seen[0].seconds, seen[0].rate, seen[0].eta, seen[0].fraction) == (4.0, 50.0, 16.0, 0.6)


async def test_the_scan_knows_the_fraction_better_than_the_rows(
    clock: Clock, meter: ProgressMeter, seen: list[RetentionProgress]
) -> None:
    for second, (deleted, fraction) in enumerate([(10, 0.3), (20, 0.2), (500, 0.9), (600, 1.1)]):
        clock.now = 101.0 + second
        await meter.report(deleted, 100, fraction)
    # It never goes back, nor beyond one; and there are never fewer rows than are gone.
    assert [one.fraction for one in seen] == [0.3, 0.3, 0.9, 1.0]
    assert [one.total for one in seen] == [100, 100, 500, 600]


async def test_a_run_that_stopped_early_is_not_complete(
    clock: Clock, meter: ProgressMeter, seen: list[RetentionProgress]
) -> None:
    clock.now = 101.0
    await meter.report(25, 100, None)
    await meter.report_end(50, is_complete=False)
    assert (seen[-1].fraction, seen[-1].total, seen[-1].eta) == (0.25, 100, 1.0)


async def test_nothing_can_be_said_of_the_end_while_nothing_is_done(
    clock: Clock, meter: ProgressMeter, seen: list[RetentionProgress]
) -> None:
    clock.now = 101.0
    await meter.report(0, 100, None, waiting="a replica")
    assert (seen[0].eta, seen[0].rate, seen[0].fraction, seen[0].waiting) == (None, 0.0, 0.0, "a replica")
    await meter.report_end(0, is_complete=True)
    assert (seen[1].eta, seen[1].fraction, seen[1].waiting) == (0.0, 1.0, None)


async def test_nobody_needs_to_watch() -> None:
    meter = ProgressMeter(None)
    assert not meter.is_due
    await meter.report(1, 1, 1.0)
    await meter.report_end(1, is_complete=True)
