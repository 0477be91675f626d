from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from kiqstart.broker.weighted_order import WeightedOrder

WEIGHTS = st.dictionaries(st.sampled_from(["default", "low", "mail", "reports"]), st.integers(1, 9), min_size=1)


@given(WEIGHTS, st.integers(0, 40))
def test_in_any_round_each_queue_comes_first_as_often_as_its_weight_says(weights: dict[str, int], before: int) -> None:
    order = WeightedOrder(weights)
    for _ in range(before):
        order.next()
    firsts = Counter(order.next()[0] for _ in range(sum(weights.values())))
    assert firsts == weights


@given(WEIGHTS)
def test_every_read_takes_every_queue(weights: dict[str, int]) -> None:
    order = WeightedOrder(weights)
    assert all(sorted(order.next()) == sorted(weights) for _ in range(10))


def test_a_heavy_queue_does_not_take_all_of_its_turns_in_a_row() -> None:
    order = WeightedOrder({"default": 4, "low": 2})
    assert [order.next()[0] for _ in range(6)] == ["default", "low", "default"] * 2
