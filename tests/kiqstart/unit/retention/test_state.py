import json
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from kiqstart.retention.report import FailureGroup
from kiqstart.retention.run_store import _share
from kiqstart.retention.scan import Interval, Lines
from kiqstart.retention.state import LockedInterval, ShardState

counts = st.integers(0, 10**12)
positions = st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), min_size=1, max_size=3).map(tuple)
lines = st.builds(Lines, counts, counts, st.text(max_size=9))
intervals = st.builds(Interval, st.none() | positions, positions, st.none() | lines)
keys = st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3)
seconds = st.floats(0, 1e9)
states = st.builds(
    ShardState,
    todo=st.lists(intervals, max_size=3).map(tuple),
    share=st.lists(intervals, max_size=3).map(tuple),
    covers=st.text(max_size=5),
    time_limit=st.none() | seconds,
    locked=st.lists(st.builds(LockedInterval, intervals, counts), max_size=3).map(tuple),
    given_up=counts,
    deleted=counts,
    batches=counts,
    longest_batch=seconds,
    waited=seconds,
    waited_for=st.none() | st.text(max_size=9),
    causes=st.dictionaries(st.text(max_size=9), counts, max_size=3),
    failed=counts,
    failures=st.lists(st.builds(FailureGroup, keys, keys, st.text(max_size=9), counts), max_size=3).map(tuple),
)

FIRST, SECOND = Interval(None, ("5",)), Interval(("5",), ("9", "x"))
BEGUN = ShardState(todo=(FIRST, SECOND), share=(FIRST, SECOND), covers="these", time_limit=60.0)


@settings(max_examples=25)
@given(states)
def test_a_state_comes_back_from_json_as_it_was(state: ShardState) -> None:
    assert ShardState.from_json(json.dumps(state.to_json())) == state


@given(st.none() | st.integers(0, 10**9), st.integers(1, 64))
def test_the_shares_of_a_limit_add_up_to_it(limit: int | None, parts: int) -> None:
    shares = _share(limit, parts)
    assert len(shares) == parts
    if limit is None:
        assert set(shares) == {None}
        return
    each = [share for share in shares if share is not None]
    assert sum(each) == limit
    assert max(each) - min(each) <= 1


def test_a_batch_is_counted_and_passed() -> None:
    state = BEGUN.with_batch(10, 0.2).past((Interval(("3",), ("5",)),))
    assert (state.deleted, state.batches, state.longest_batch) == (10, 1, 0.2)
    assert state.todo == (Interval(("3",), ("5",)), SECOND)
    state = state.with_batch(5, 0.1).past(())
    assert (state.deleted, state.batches, state.longest_batch, state.todo) == (15, 2, 0.2, (SECOND,))


def test_locked_stretches_are_come_back_to() -> None:
    assert BEGUN.with_locked(FIRST, 0) == BEGUN
    state = replace(BEGUN, todo=()).with_locked(FIRST, 2).with_locked(SECOND, 3)
    assert state.skipped == 5
    back = state.coming_back()
    assert (back.todo, back.locked) == ((FIRST, SECOND), ())


def test_memory_does_not_grow_with_the_locks() -> None:
    state = BEGUN
    for number in range(5_000):
        state = state.with_locked(Interval((str(number),), (str(number + 1),)), 2)
    assert (len(state.locked), state.skipped) == (1_000, 10_000)


def test_what_is_gone_through_again_is_reported_once_and_the_counts_of_deleted_rows_stay() -> None:
    failure = FailureGroup({"id": 1}, {"id": 1}, "held", 1)
    state = BEGUN.with_batch(10, 0.2).with_locked(FIRST, 2).with_failures((failure,))
    again = state.restarted((Interval(None, ("7",)),), "others")
    assert (again.deleted, again.batches, again.time_limit, again.covers) == (10, 1, 60.0, "others")
    assert again.todo == again.share == (Interval(None, ("7",)),)
    assert (again.skipped, again.failed, again.failures) == (0, 0, ())
