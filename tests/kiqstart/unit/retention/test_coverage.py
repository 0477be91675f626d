"""What runs leave to each other, on a table of a hundred rows whose positions are numbers."""

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import cast

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.coverage import Coverage, all_of, coverage_of, fingerprint, is_same_statement
from kiqstart.retention.policy import RetentionPolicy
from kiqstart.retention.scan import Interval, Scan
from kiqstart.retention.state import ShardState
from todo_service.core.session.models import RefreshSession

NOBODY = cast("AsyncConnection", None)


class Numbers:
    """Goes along the whole numbers, of which it makes equal parts."""

    async def split(self, connection: AsyncConnection, interval: Interval, parts: int) -> list[Interval]:
        del connection
        first, last = begin(interval), int(interval.upto[0])
        ends = sorted({first + (last - first) * number // parts for number in range(1, parts + 1)} - {first})
        return [stretch(after, upto) for after, upto in zip([first, *ends[:-1]], ends, strict=True)] or [interval]


def begin(interval: Interval) -> int:
    return int(interval.after[0]) if interval.after else 0


def stretch(after: int, upto: int) -> Interval:
    return Interval((str(after),) if after else None, (str(upto),))


def rows(stretches: tuple[Interval, ...]) -> list[int]:
    return [row for one in stretches for row in range(begin(one) + 1, int(one.upto[0]) + 1)]


def worked(state: ShardState, count: int) -> tuple[ShardState, list[int]]:
    """Go on by so many rows, and return which they were."""
    met: list[int] = []
    while count and state.todo:
        first = state.todo[0]
        upto = min(begin(first) + count, int(first.upto[0]))
        met += rows((stretch(begin(first), upto),))
        count -= upto - begin(first)
        state = state.past(first.cut_at((str(upto),)).rest)
    return state, met


def opened(coverage: Coverage, shards: int) -> list[ShardState]:
    shares = asyncio.run(coverage.share_out(NOBODY, cast("Scan", Numbers()), shards))
    return [ShardState(todo=share, share=share) for share in shares]


@dataclass(frozen=True)
class Night:
    """A run: its shards, how many rows each comes to, and by how many the table has grown before it."""

    shards: int
    steps: tuple[int, ...]
    growth: int


nights = st.builds(
    Night,
    st.integers(1, 8),
    st.lists(st.integers(0, 40), min_size=8, max_size=8).map(tuple),
    st.integers(0, 5),
)


@given(st.lists(nights, max_size=12))
def test_a_run_is_given_all_of_the_table_and_first_what_the_last_one_left(played: list[Night]) -> None:
    size, states, missed = 100, list[ShardState](), set(range(1, 101))
    for night in played:
        size += night.growth
        whole = stretch(0, size)
        coverage = coverage_of(states, whole) if states else all_of(whole)
        if states:
            assert set(rows(coverage.left)) == missed | set(range(size - night.growth + 1, size + 1))
        states = opened(coverage, night.shards)
        assert len(states) <= night.shards
        assert sorted(row for state in states for row in rows(state.todo)) == list(range(1, size + 1))
        moved = [worked(state, step) for state, step in zip(states, night.steps, strict=False)]
        states = [state for state, _ in moved]
        missed = set(range(1, size + 1)) - {row for _, met in moved for row in met}


def test_stretches_do_not_multiply() -> None:
    whole = stretch(0, 100_000)
    states = opened(all_of(whole), 8)
    for _ in range(1_000):
        states = [worked(state, 100)[0] for state in opened(coverage_of(states, whole), 8)]
        assert sum(len(state.share) for state in states) <= 256


def test_what_does_not_say_where_it_was_is_gone_through_again() -> None:
    whole = stretch(0, 100)
    states = opened(all_of(whole), 4)
    assert coverage_of([replace(states[0], share=()), *states[1:]], whole) == all_of(whole)
    assert coverage_of(states[:-1], None) == all_of(None)


def test_a_fingerprint_tells_the_predicate_from_what_it_compares_with() -> None:
    def of(column: object, moment: datetime) -> str:
        predicate = RefreshSession.expires_at < moment if column == "expires" else RefreshSession.created_at < moment
        return fingerprint(RetentionPolicy(name="one", model=RefreshSession, predicate=predicate))

    first, later = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    assert of("expires", first) == of("expires", first)
    assert of("expires", first) != of("expires", later)
    assert is_same_statement(of("expires", first), of("expires", later))
    assert not is_same_statement(of("expires", first), of("created", first))
