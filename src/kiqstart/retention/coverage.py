"""What a run goes through of a table, and what of it another run has not come to.

A run begins where the policy's last one stopped and goes on to the end of the table; then it comes to what that one has
passed, where rows may have come to match since: the table is a ring. So a run that reports its end has been
everywhere, and one that stops at a limit each night gets on all the same.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from kiqstart.retention.policy import RetentionPolicy
from kiqstart.retention.scan import Interval, Scan
from kiqstart.retention.state import ShardState
from kiqstart.retention.target import statement_text

# More than these are no longer kept apart: the run begins at the beginning.
_MOST_STRETCHES: Final = 256
# Of a table whose rows refer to each other: so many rows to a stretch, as far as that does not make too many.
_ROWS_OF_STRETCH: Final = 2_000
_MOST_OF_TREE: Final = 500


@dataclass(frozen=True, slots=True)
class Coverage:
    """A table as one run has left it: the stretches that it has not come to, and those that it has passed."""

    left: tuple[Interval, ...]
    passed: tuple[Interval, ...] = ()

    async def share_out(self, connection: AsyncConnection, scan: Scan, shards: int) -> list[tuple[Interval, ...]]:
        """Give each of up to so many shards its stretches, in the order in which it goes through them."""
        left, passed = [await _cut(connection, scan, one, shards) for one in (self.left, self.passed)]
        parts = max(1, min(shards, max(len(left), len(passed))))
        return [(*left[number::parts], *passed[number::parts]) for number in range(parts)]

    async def from_the_end(self, connection: AsyncConnection, scan: Scan, rows: int) -> list[tuple[Interval, ...]]:
        """Give one shard all, last stretches first: a row that refers to another mostly came after it.

        To more than one shard they would not do: one would wait for what another has to delete first.
        """
        parts = max(1, min(_MOST_OF_TREE, rows // _ROWS_OF_STRETCH))
        left, passed = [await _cut(connection, scan, one, parts) for one in (self.left, self.passed)]
        return [(*reversed(left), *reversed(passed))]


def all_of(whole: Interval | None) -> Coverage:
    """Return what no run has been to."""
    return Coverage((whole,) if whole else ())


def coverage_of(states: Sequence[ShardState], whole: Interval | None) -> Coverage:
    """Return what the shards of a run have left of the table as it is now; all of it where they do not say."""
    shares = {share.after: (share, state) for state in states for share in state.share}
    stretches: list[tuple[Interval, bool]] = []
    position = None
    while (found := shares.pop(position, None)) is not None:
        share, state = found
        rest = next((one for one in state.todo if one.upto == share.upto), None)
        passed = Interval(share.after, share.upto if rest is None else rest.after or share.upto)
        if rest is None or rest.after is not None:
            stretches.append((passed, True))
        if rest is not None:
            stretches.append((rest, False))
        position = share.upto
    if whole is None or shares or not stretches:
        return all_of(whole)
    if position is not None:
        # Rows that have come since.
        stretches.append((Interval(position, whole.upto), False))
    coverage = Coverage(_joined(stretches, passed=False), _joined(stretches, passed=True))
    return coverage if len(coverage.left) <= _MOST_STRETCHES else all_of(whole)


def fingerprint(policy: RetentionPolicy) -> str:
    """Return what tells whether two policies name the same rows: digests of the statement and of what it compares with.

    The second changes with each `now() - age`; the first only with the predicate, the class or the table.
    """
    text, parameters = statement_text(policy.model, policy.condition)
    return " ".join(hashlib.sha256(part.encode()).hexdigest()[:16] for part in (text, repr(sorted(parameters.items()))))


def is_same_statement(one: str, other: str) -> bool:
    """Whether two fingerprints differ at most in what the statement compares with."""
    return one.partition(" ")[0] == other.partition(" ")[0]


def _joined(stretches: Iterable[tuple[Interval, bool]], *, passed: bool) -> tuple[Interval, ...]:
    """Return the stretches of one kind, each with its neighbours of the same kind."""
    joined: list[Interval] = []
    for one, was_passed in stretches:
        if was_passed is not passed or one.is_empty:
            continue
        if joined and joined[-1].upto == one.after:
            joined[-1] = Interval(joined[-1].after, one.upto)
        else:
            joined.append(one)
    return tuple(joined)


async def _cut(connection: AsyncConnection, scan: Scan, stretches: Sequence[Interval], shards: int) -> list[Interval]:
    """Cut stretches where they are fewer than the shards."""
    if not stretches or len(stretches) >= shards:
        return list(stretches)
    parts = -(-shards // len(stretches))
    return [part for one in stretches for part in await scan.split(connection, one, parts)]
