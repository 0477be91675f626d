"""What a run did."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from kiqstart.retention.cost import RowCost
from kiqstart.retention.policy import ScanKind
from kiqstart.retention.stored_numbers import Count

# A key's columns as a JSON object.
FailureKey = dict[str, str | int]

MAX_FAILURES = 100


class StopReason(StrEnum):
    """Why a run ended."""

    END = "end"
    """All of the table was gone through."""
    ROW_LIMIT = "row limit"
    TIME_BUDGET = "time budget"
    WINDOW = "window"
    """The time of day in which the policy may run was over; the next run goes on."""
    UNDELETABLE = "undeletable rows"
    """No row could be deleted, or too many could not."""
    LOAD = "load"
    """Others came first for too long; the next run goes on."""
    STOPPED = "stopped"
    """It was asked to stop; the same run can be resumed."""


@dataclass(frozen=True, slots=True)
class RetentionFailure:
    """Rows that could not be deleted.

    `key` is the policy's `error_key` of theirs with the primary key of the first, `error` the database's one line,
    `rows` how many there were.
    """

    key: FailureKey
    error: str
    rows: int = 1


@dataclass(frozen=True, kw_only=True)
class RetentionReport:
    """What a run did, all of it: what was done before it was interrupted, and by all who took part, included.

    Args:
        policy: the policy's name.
        run_id: the run's id.
        scan: the way through the table.
        reason: why that way.
        deleted: rows.
        batches: transactions that deleted.
        seconds: time since the run's beginning, interruptions included.
        longest_batch: seconds of the longest transaction.
        skipped: rows that others held locks on to the end; the next run takes them.
        failed: rows that could not be deleted.
        errors: the first `MAX_FAILURES` kinds of them.
        left_alone: rows that runs could not delete of late, and which are not tried again for a while.
        waited: seconds spent waiting for replicas, for lock queues, or for the server to come back.
        rested: seconds spent resting between batches, by all who took part: by its pace, pause and rows per second.
        stopped: why the run ended.
        resumed: whether it went on with what an interrupted or limited run had left.
        notes: what held the run up, a sentence each: why rows could not be deleted, and what it waited for.
        bloat: what becomes of the dead rows, a sentence each.
        per_row: what reading and writing each row cost, measured in some of the batches; None if in none.
        partitions: those that were detached or dropped whole, with about how many rows, which `deleted` does not count.
    """

    policy: str
    run_id: str
    scan: ScanKind
    reason: str
    deleted: int
    batches: int
    seconds: float
    longest_batch: float
    skipped: int = 0
    failed: int = 0
    errors: tuple[RetentionFailure, ...] = ()
    left_alone: int = 0
    waited: float = 0.0
    rested: float = 0.0
    stopped: StopReason = StopReason.END
    resumed: bool = False
    notes: tuple[str, ...] = ()
    bloat: tuple[str, ...] = ()
    per_row: RowCost | None = None
    partitions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Rows of one group that failed for one reason; see `RetentionFailure`."""

    group: FailureKey
    key: FailureKey
    error: str
    rows: Count


def merge_failures(groups: Iterable[FailureGroup]) -> tuple[FailureGroup, ...]:
    """Put equal groups together, and keep the first `MAX_FAILURES`, so that memory does not grow with the rows."""
    merged: dict[tuple[tuple[tuple[str, str | int], ...], str], FailureGroup] = {}
    for one in groups:
        entry = (tuple(one.group.items()), one.error)
        if (known := merged.get(entry)) is not None:
            merged[entry] = FailureGroup(known.group, known.key, known.error, known.rows + one.rows)
        elif len(merged) < MAX_FAILURES:
            merged[entry] = one
    return tuple(merged.values())


def count_causes(causes: Mapping[str, int], groups: Iterable[FailureGroup]) -> dict[str, int]:
    """Count the rows of groups for each cause; no more than `MAX_FAILURES` causes are told apart."""
    counted = dict(causes)
    for one in groups:
        if one.error in counted or len(counted) < MAX_FAILURES:
            counted[one.error] = counted.get(one.error, 0) + one.rows
    return counted


def plain_key(value: object) -> str | int:
    """A value of a row's key as a report has it: a number stays one, the rest is text."""
    return value if isinstance(value, int) else str(value)
