"""What a run did."""

from dataclasses import dataclass, field

# A key's columns as a JSON object.
FailureKey = dict[str, str | int]

MAX_FAILURES = 100


@dataclass(frozen=True, slots=True)
class RetentionFailure:
    """Rows that could not be deleted: the policy's `error_key` of theirs, the database's one line, and how many."""

    key: FailureKey
    error: str
    rows: int = 1


@dataclass(frozen=True, slots=True)
class RetentionReport:
    """What a run did.

    `seconds` and `longest_batch` (the longest transaction) are seconds. `errors` has the first `MAX_FAILURES` failures,
    each key and error once; `failed` counts all rows that could not be deleted.
    """

    policy: str
    deleted: int
    batches: int
    seconds: float
    longest_batch: float
    errors: tuple[RetentionFailure, ...] = ()
    failed: int = 0


@dataclass(slots=True)
class RetentionTally:
    """Counts while a run goes on, in memory that does not grow with the rows."""

    deleted: int = 0
    batches: int = 0
    longest_batch: float = 0.0
    failed: int = 0
    _failures: dict[tuple[tuple[tuple[str, str | int], ...], str], int] = field(default_factory=dict)

    def add_batch(self, deleted: int, seconds: float) -> None:
        """Count a committed batch."""
        self.deleted += deleted
        self.batches += 1
        self.longest_batch = max(self.longest_batch, seconds)

    def add_failure(self, key: FailureKey, error: str) -> None:
        """Count a row that could not be deleted."""
        self.failed += 1
        entry = (tuple(key.items()), error)
        if entry in self._failures or len(self._failures) < MAX_FAILURES:
            self._failures[entry] = self._failures.get(entry, 0) + 1

    def report(self, policy: str, seconds: float) -> RetentionReport:
        """Return the report of the run of that policy."""
        return RetentionReport(
            policy=policy,
            deleted=self.deleted,
            batches=self.batches,
            seconds=seconds,
            longest_batch=self.longest_batch,
            errors=tuple(
                RetentionFailure(key=dict(key), error=error, rows=rows) for (key, error), rows in self._failures.items()
            ),
            failed=self.failed,
        )
