from collections.abc import Callable
from dataclasses import replace
from itertools import count
from random import Random
from statistics import mean

import pytest

from kiqstart.retention.throttle import Others, Throttle

BUSY = Others(in_flight=0, others=8, deleters=1, begun=9)
NOBODY = Others(in_flight=0, others=0, deleters=1, begun=9)
Cost = Callable[[], float]


def steady() -> float:
    return 0.001


def run(throttle: Throttle, batches: int, *, row: Cost = steady, look: Cost = steady, queue: int = 0) -> list[float]:
    """Do batches beside others, of whom so many more wait for an answer right after one; return the shares."""
    shares: list[float] = []
    for _ in range(batches):
        waiting = queue if throttle.looks_after else 0
        throttle.record_look(replace(BUSY, in_flight=waiting), look())
        throttle.record_batch(row() * 100, 100, 100)
        shares.append(throttle.share)
    return shares


def worked(throttle: Throttle, work: float, seconds: float) -> float:
    """The part of the time in which it works."""
    return work / (seconds + throttle.rest(work, seconds))


def test_it_works_for_a_part_of_the_time_whatever_a_batch_takes() -> None:
    throttle = Throttle()
    throttle.record_look(BUSY, 0.001)
    for work, overhead in ((0.001, 0.0005), (0.025, 0.005), (0.2, 0.1)):
        assert worked(throttle, work, work + overhead) == pytest.approx(0.28)
    # A batch that was mostly waiting has rested.
    assert throttle.rest(0.01, 0.5) == 0


def test_it_does_not_rest_where_nobody_else_is() -> None:
    throttle = Throttle()
    throttle.record_look(NOBODY, 0.001)
    assert throttle.rest(0.025, 0.03) == 0
    throttle.record_look(replace(NOBODY, others=1), 0.001)
    assert throttle.rest(0.025, 0.03) > 0


def test_it_rests_for_those_who_come_and_go_between_two_looks() -> None:
    throttle = Throttle()
    throttle.record_look(NOBODY, 0.001)
    throttle.record_look(replace(NOBODY, begun=10), 0.001)
    assert throttle.rest(0.025, 0.03) > 0
    # They may come again; in the end nobody does.
    rests: list[float] = []
    for _ in range(20):
        throttle.record_look(replace(NOBODY, begun=10), 0.001)
        rests.append(throttle.rest(0.025, 0.03))
    assert (rests[0] > 0, rests[-1]) == (True, 0)


def test_it_rests_for_others_however_many_delete_side_by_side() -> None:
    throttle = Throttle()
    throttle.record_look(replace(NOBODY, others=1, deleters=4), 0.001)
    assert throttle.rest(0.025, 0.03) > 0


def test_those_who_delete_side_by_side_share_the_part_of_one() -> None:
    throttle = Throttle()
    throttle.record_look(replace(BUSY, deleters=4), 0.001)
    assert 4 * worked(throttle, 0.025, 0.03) == pytest.approx(0.28)


def test_while_nothing_changes_it_takes_a_little_more_up_to_a_ceiling() -> None:
    shares = run(Throttle(), 200)
    assert shares == sorted(shares)
    assert [shares[0], shares[-1]] == pytest.approx([0.28, 0.3])


@pytest.mark.parametrize("slow", ["row", "look"])
def test_it_gives_way_when_something_takes_longer_until_that_is_usual(slow: str) -> None:
    throttle = Throttle()
    run(throttle, 100)
    costs: dict[str, Cost] = {slow: lambda: 0.004}
    shares = run(throttle, 40, **costs)  # type: ignore[arg-type]  # the names are those of costs
    assert min(shares) < 0.2
    assert run(throttle, 400, **costs)[-1] == pytest.approx(0.3)  # type: ignore[arg-type]  # as above


def test_it_gives_way_while_others_queue_up_behind_its_batches_and_never_stops() -> None:
    throttle = Throttle()
    assert run(throttle, 1000, queue=3)[-1] == pytest.approx(0.05)
    assert run(throttle, 400)[-1] == pytest.approx(0.3)


def test_noise_is_no_reason_to_give_way() -> None:
    """On a busy host one cost is ten times another while nothing changes."""
    for seed in range(20):
        noise = Random(seed)  # noqa: S311 - nothing is secret here

        def cost(noise: Random = noise) -> float:
            return 0.001 * noise.lognormvariate(0, 0.8)

        assert mean(run(Throttle(), 1000, row=cost, look=cost)) > 0.2


def test_a_glance_of_others_at_work_is_no_reason_to_give_way() -> None:
    throttle, numbers = Throttle(), count()
    for number in numbers:
        throttle.record_look(replace(BUSY, in_flight=number % 3 == 0), 0.001)
        throttle.record_batch(0.02, 100, 100)
        if number == 300:
            break
    assert throttle.share == pytest.approx(0.3)


def test_where_fewer_rows_go_a_row_costs_more_which_is_no_reason_to_give_way() -> None:
    throttle, shares = Throttle(), list[float]()
    for number in range(1000):
        throttle.record_look(BUSY, 0.001)
        # All of the rows of a stretch go, or one in a hundred of those of the next.
        deleted = 10_000 if number // 80 % 2 else 100
        throttle.record_batch(deleted * 2e-6 + 10_000 * 2e-7, 10_000, deleted)
        shares.append(throttle.share)
    assert min(shares) >= 0.28
