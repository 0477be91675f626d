from kiqstart.core.retention.pace import Pace, PaceLimits

LIMITS = PaceLimits(first=100, floor=10, ceiling=1_000, target=0.1)


def test_a_batch_on_target_keeps_the_size() -> None:
    pace = Pace(LIMITS)
    pace.record(0.1)
    assert pace.size == 100


def test_a_quick_batch_at_most_doubles_the_size() -> None:
    pace = Pace(LIMITS)
    pace.record(0.0001)
    assert pace.size == 200
    pace.record(0.0)
    assert pace.size == 400


def test_a_slow_batch_shrinks_the_size_as_far_as_it_was_slow() -> None:
    pace = Pace(LIMITS)
    pace.record(0.4)
    assert pace.size == 25


def test_the_size_stays_between_floor_and_ceiling() -> None:
    pace = Pace(LIMITS)
    for _ in range(10):
        pace.record(0.001)
    assert pace.size == 1_000
    pace.record(60)
    assert pace.size == 10
