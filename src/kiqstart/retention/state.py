"""Where a shard of a run stands."""

from dataclasses import dataclass, field, replace
from typing import Any, Final

from pydantic import TypeAdapter

from kiqstart.retention.cost import BatchCost
from kiqstart.retention.report import FailureGroup, count_causes, merge_failures
from kiqstart.retention.scan import Interval
from kiqstart.retention.stored_numbers import Count, Seconds

# More stretches with locked rows than these are left to the next run.
_MOST_LOCKED: Final = 1_000
# More stretches with rows that others hold back are made wider.
_MOST_HELD: Final = 1_000


@dataclass(frozen=True, slots=True)
class LockedInterval:
    """A stretch in which so many rows stayed, since somebody held locks on them, or rows refer to them."""

    interval: Interval
    rows: Count


@dataclass(frozen=True, kw_only=True)
class ShardState:
    """What is left of a shard and what was done; a new one takes its place with each batch.

    `share` has the stretches that the shard was given, `covers` tells of which rows (`coverage.fingerprint`); `todo`
    has those that are left, `locked` those to come back to, `given_up` counts locked rows that nobody comes back to in
    this run, `held` has those of rows that rows of their own table refer to (`tree`), and `time_limit` says after how
    many seconds from the run's beginning whoever has the shard stops. `causes` counts the rows that cannot be deleted
    by the database's reasons. `partitions` of the first shard went before the rows; `cost` is what the batches cost
    that were measured; `waited_for` is the last reason to wait; `rested` are the seconds between batches.
    """

    todo: tuple[Interval, ...]
    share: tuple[Interval, ...] = ()
    covers: str = ""
    time_limit: Seconds | None = None
    locked: tuple[LockedInterval, ...] = ()
    held: tuple[LockedInterval, ...] = ()
    given_up: Count = 0
    deleted: Count = 0
    batches: Count = 0
    longest_batch: Seconds = 0.0
    waited: Seconds = 0.0
    waited_for: str | None = None
    rested: Seconds = 0.0
    failed: Count = 0
    failures: tuple[FailureGroup, ...] = ()
    causes: dict[str, Count] = field(default_factory=dict[str, Count])
    partitions: tuple[str, ...] = ()
    cost: BatchCost = field(default_factory=BatchCost)

    @property
    def skipped(self) -> int:
        """Rows that were passed over and not deleted since."""
        return self.given_up + sum(one.rows for one in self.locked)

    def with_batch(self, deleted: int, seconds: float, cost: BatchCost | None = None) -> "ShardState":
        """Count a batch."""
        return replace(
            self,
            deleted=self.deleted + deleted,
            batches=self.batches + 1,
            cost=self.cost + cost if cost else self.cost,
            longest_batch=max(self.longest_batch, seconds),
        )

    def past(self, rest: tuple[Interval, ...]) -> "ShardState":
        """Go on after a batch that the first of `todo` began with; `rest` is what is left of that."""
        return replace(self, todo=(*rest, *self.todo[1:]))

    def with_locked(self, interval: Interval, rows: int) -> "ShardState":
        """Remember a stretch with rows that somebody holds locks on."""
        if not rows:
            return self
        if len(self.locked) >= _MOST_LOCKED:
            return replace(self, given_up=self.given_up + rows)
        return replace(self, locked=(*self.locked, LockedInterval(interval, rows)))

    def with_held(self, interval: Interval, rows: int) -> "ShardState":
        """Remember a stretch with rows that others refer to which have not gone yet."""
        if not rows:
            return self
        held = (*self.held, LockedInterval(interval, rows))
        return replace(self, held=held if len(held) <= _MOST_HELD else _widened(held))

    def with_failures(self, failures: tuple[FailureGroup, ...]) -> "ShardState":
        """Count rows that cannot be deleted."""
        return replace(
            self,
            failed=self.failed + sum(one.rows for one in failures),
            failures=merge_failures((*self.failures, *failures)),
            causes=count_causes(self.causes, failures),
        )

    def coming_back(self) -> "ShardState":
        """Go to the stretches with locked rows again."""
        return replace(self, todo=tuple(one.interval for one in self.locked), locked=())

    def going_back(self) -> "ShardState":
        """Go to the stretches with held rows again, from the other end: what refers to a row is often behind it."""
        return replace(self, todo=tuple(one.interval for one in reversed(self.held)), held=())

    def restarted(self, share: tuple[Interval, ...], covers: str) -> "ShardState":
        """Go through these stretches, of whatever was gone through before, and keep the counts of what is gone."""
        return replace(
            self,
            todo=share,
            share=share,
            covers=covers,
            locked=(),
            held=(),
            given_up=0,
            failed=0,
            failures=(),
            causes={},
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return _STATE.dump_python(self, mode="json")  # type: ignore[no-any-return]  # pydantic says Any

    @classmethod
    def from_json(cls, text: str) -> "ShardState":
        """Read what `to_json` returned, from JSON.

        Raises:
            ValueError: it is something else.
        """
        # Not by way of `json`, which also fails at numbers of thousands of digits, and at what is nested deeply.
        return _STATE.validate_json(text)


def _widened(held: tuple[LockedInterval, ...]) -> tuple[LockedInterval, ...]:
    """Make one of each two stretches that are next to each other, whichever way they were gone through."""
    widened: list[LockedInterval] = []
    is_wide = False
    for one in held:
        both = None if is_wide or not widened else _together(widened[-1].interval, one.interval)
        if both is None:
            widened.append(one)
        else:
            widened[-1] = LockedInterval(both, widened[-1].rows + one.rows)
        is_wide = both is not None
    return tuple(widened)


def _together(one: Interval, other: Interval) -> Interval | None:
    if one.lines is not None or other.lines is not None:
        return None
    if one.upto == other.after:
        return Interval(one.after, other.upto)
    return Interval(other.after, one.upto) if other.upto == one.after else None


_STATE: Final = TypeAdapter(ShardState)
