from collections.abc import Sequence

from hypothesis import example, given
from hypothesis import strategies as st

from kiqstart.broker.failure_detector import FailureDetector

SPAN, LONGEST_GAP = 5, 3

Look = tuple[int, dict[str, str]]
"""When it was, and which workers were late, each with the time of its last beat."""


@st.composite
def looks(draw: st.DrawFn) -> list[Look]:
    late = st.dictionaries(st.sampled_from(["one", "two"]), st.sampled_from(["1", "2"]))
    steps = draw(st.lists(st.tuples(st.integers(1, LONGEST_GAP + 1), late), max_size=30))
    now, found = 0, list[Look]()
    for step, workers in steps:
        now += step
        found.append((now, workers))
    return found


def is_dead(worker: str, history: Sequence[Look]) -> bool:
    now, late = history[-1]
    later = now
    for time, seen in reversed(history):
        if later - time > LONGEST_GAP or worker not in late or seen.get(worker) != late[worker]:
            return False
        if now - time >= SPAN:
            return True
        later = time
    return False


@given(looks())
@example([(time, {"one": "1"}) for time in range(1, 8)])
def test_a_worker_is_dead_when_every_look_of_a_span_without_a_gap_saw_the_same_beat(history: list[Look]) -> None:
    detector = FailureDetector(span=lambda _: SPAN, longest_gap=LONGEST_GAP)
    for place, (now, late) in enumerate(history):
        expected = [(worker, beat) for worker, beat in late.items() if is_dead(worker, history[: place + 1])]
        assert detector.look(late, now) == expected


def test_a_worker_that_beats_again_and_again_is_never_dead_however_late_it_looks() -> None:
    detector = FailureDetector(span=lambda _: SPAN, longest_gap=LONGEST_GAP)
    assert not any(detector.look({"one": str(now // 4)}, now) for now in range(100))


def test_nobody_is_dead_when_whoever_looks_has_stood_still() -> None:
    detector = FailureDetector(span=lambda _: SPAN, longest_gap=LONGEST_GAP)
    for now in (0, 3, 100, 103):
        assert detector.look({"one": "1"}, now) == []
    assert detector.look({"one": "1"}, 105) == [("one", "1")]


def test_it_says_when_the_next_worker_is_dead_that_does_not_beat() -> None:
    detector = FailureDetector(span=lambda _: SPAN, longest_gap=LONGEST_GAP)
    assert (detector.look({"one": "1"}, 0), detector.next_at) == ([], SPAN)
    assert (detector.look({"one": "1", "two": "1"}, 3), detector.next_at) == ([], SPAN)
    assert (detector.look({"one": "1", "two": "1"}, 5), detector.next_at) == ([("one", "1")], 3 + SPAN)
