import pytest

from kiqstart.retention.pace import Pace
from kiqstart.retention.settings import RetentionSettings


def made(rows_per_second: float | None = None, **settings: float) -> Pace:
    return Pace(RetentionSettings.model_validate({"pace": "full", **settings}), rows_per_second)


def record(pace: Pace, seconds: float, share: float = 1.0) -> None:
    """Let the pace take a batch of which that share of the rows that it looked at went."""
    pace.record(seconds, looked_at=pace.rows, deleted=round(pace.rows * share))


def test_a_batch_on_target_keeps_the_size() -> None:
    pace = made(batch_seconds=0.1)
    record(pace, 0.1)
    assert pace.rows == 5_000


def test_a_quick_batch_at_most_quadruples_the_size() -> None:
    pace = made()
    record(pace, 0.0001)
    assert pace.rows == 20_000
    record(pace, 0.0)
    assert pace.rows == 80_000


def test_a_slow_batch_shrinks_the_size_as_far_as_it_was_slow() -> None:
    pace = made(batch_seconds=0.1)
    record(pace, 0.4)
    assert pace.rows == 1_250


def test_the_size_stays_between_floor_and_ceiling() -> None:
    pace = made(batch_rows=50_000)
    for _ in range(10):
        record(pace, 0.001)
    assert pace.rows == 50_000
    record(pace, 3600)
    assert pace.rows == 100


@pytest.mark.parametrize("batch_rows", [1, 30])
def test_a_ceiling_below_the_floor_is_kept(batch_rows: int) -> None:
    pace = made(batch_rows=batch_rows)
    for seconds in (0.0, 60.0, 0.0):
        assert pace.rows == batch_rows
        record(pace, seconds)


@pytest.mark.parametrize(("rate", "rows"), [(1000, 100), (10, 1), (1, 1), (1_000_000_000, 5_000)])
def test_a_batch_holds_no_more_rows_than_its_time_may_have(rate: float, rows: int) -> None:
    pace = made(rate, batch_seconds=0.1)
    assert pace.rows == rows
    record(pace, 0.0)
    assert pace.rows == (rows if rate <= 1000 else 20_000)


def test_a_batch_that_is_refused_shrinks_down_to_one_row() -> None:
    pace, sizes = made(), list[int]()
    while pace.shrink():
        sizes.append(pace.rows)
    assert sizes == [2500, 1250, 625, 312, 156, 78, 39, 19, 9, 4, 2, 1]


def test_below_the_floor_the_size_grows_step_by_step() -> None:
    pace = made()
    while pace.shrink():
        pass
    sizes = list[int]()
    for _ in range(5):
        record(pace, 0.0)
        sizes.append(pace.rows)
    assert sizes == [4, 16, 64, 256, 1024]


def test_a_batch_that_takes_too_long_shrinks_before_it_may_take_longer() -> None:
    pace, seen = made(batch_seconds=0.1), list[tuple[int, float]]()
    while pace.relax():
        seen.append((pace.rows, pace.timeout))
    assert seen[:12] == [(rows, 0.2) for rows in (2500, 1250, 625, 312, 156, 78, 39, 19, 9, 4, 2, 1)]
    assert seen[12:] == [(1, timeout) for timeout in (0.4, 0.8, 1.6, 3.2, 6.4, 10)]


def test_a_longer_timeout_does_not_last() -> None:
    pace = made(batch_seconds=0.1)
    while pace.relax():
        pass
    timeouts = list[float]()
    for _ in range(8):
        record(pace, 0.1)
        timeouts.append(pace.timeout)
    assert timeouts == [5, 2.5, 1.25, 0.625, 0.3125, 0.2, 0.2, 0.2]
