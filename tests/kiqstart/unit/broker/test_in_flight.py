"""What a worker has in hand is counted right, in whatever order deliveries come and go."""

from hypothesis import given
from hypothesis import strategies as st
from tests.deliveries import delivery_with

from kiqstart.broker.delivery import Delivery
from kiqstart.broker.in_flight import InFlightDeliveries

# Few, so that an entry comes again while the first one is still there: a restored Redis hands it out anew.
ENTRIES = ("1-0", "2-0", "3-0")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "settle", "discard", "withdraw"]),
        st.sampled_from(ENTRIES),
        st.integers(0, 1000),
        st.booleans(),
    ),
    max_size=30,
)


@given(STEPS)
def test_the_memory_and_the_suspects_in_hand_are_those_of_the_deliveries(
    steps: list[tuple[str, str, int, bool]],
) -> None:
    in_flight = InFlightDeliveries()
    known: list[Delivery] = []
    for step, entry, size, is_suspect in steps:
        of_entry = [one for one in known if one.entry == entry]
        if step == "take":
            known += in_flight.take([delivery_with(entry=entry, weight=size, is_suspect=is_suspect)])
        elif step == "withdraw":
            in_flight.withdraw_waiting()
        elif of_entry and step == "settle":
            of_entry[size % len(of_entry)].result = b"x" * size
            in_flight.settle(of_entry[size % len(of_entry)])
        elif of_entry:
            in_flight.discard(of_entry[size % len(of_entry)])
        held = in_flight.all()
        assert in_flight.weight == sum(one.weight for one in held)
        assert in_flight.has_suspects == any(one.is_suspect for one in held)
    in_flight.discard(*in_flight.all())
    assert (in_flight.weight, in_flight.has_suspects) == (0, False)
