from itertools import pairwise

import pytest

from kiqstart.core.retention import progress
from kiqstart.core.retention.progress import ProgressMeter, RetentionProgress


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


async def test_progress_comes_ten_times_a_second_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, seen = Clock(), list[RetentionProgress]()

    async def collect(one: RetentionProgress) -> None:
        seen.append(one)

    monkeypatch.setattr(progress, "monotonic", clock)
    meter = ProgressMeter(collect, clock())
    for batch in range(1, 101):
        clock.time = 100.0 + batch / 64
        await meter.report(batch, batch / 100)
    await meter.report(100, 1.0, end=True)

    assert len(seen) == 1 + 14 + 1
    assert seen[0] == RetentionProgress(deleted=1, fraction=0.01, seconds=1 / 64)
    assert seen[-1] == RetentionProgress(deleted=100, fraction=1.0, seconds=100 / 64)
    assert all(later.seconds - earlier.seconds >= 0.1 for earlier, later in pairwise(seen[:-1]))


async def test_nobody_needs_to_watch() -> None:
    await ProgressMeter(None).report(1, 1.0, end=True)
