"""What can go wrong with a retention run, apart from the database."""

from collections.abc import Iterable


class RetentionError(Exception):
    """Base of the errors of retention."""


class PolicyError(RetentionError, ValueError):
    """A policy that cannot be run as it is written; the text says what to do."""

    def __init__(self, policy: str, problem: str) -> None:
        super().__init__(f"retention policy {policy!r}: {problem}")
        self.policy = policy


class UnknownPolicyError(RetentionError, LookupError):
    """There is no policy of that name."""

    def __init__(self, policy: str, known: Iterable[str]) -> None:
        super().__init__(f"there is no retention policy {policy!r}; there are {', '.join(known)}")
        self.policy = policy


class RetentionSchemaError(RetentionError):
    """The engine's own tables are not there, or of another version; the text says what to do."""


class UnreadableRunError(RetentionError):
    """What is kept of a run is nothing that the engine has written; the text says what to do."""

    def __init__(self, run_id: str, problem: str) -> None:
        super().__init__(
            f"what retention_runs has of run {run_id!r} cannot be read ({problem}): delete its rows there, and the "
            "next run begins anew"
        )
        self.run_id = run_id


class ShardLostError(RetentionError):
    """The shard is not where this worker left it: another goes on with it, or the server has lost the last batches.

    What is there is claimed again, or left to whoever has it.
    """

    def __init__(self, policy: str, run_id: str) -> None:
        super().__init__(f"retention policy {policy!r}: run {run_id} is not where this worker left it")
        self.run_id = run_id


class PredicateTooSlowError(RetentionError):
    """PostgreSQL cannot tell in ten seconds whether a single row is the policy's."""

    def __init__(self, policy: str, error: str) -> None:
        super().__init__(
            f"retention policy {policy!r}: whether a single row is to go cannot be told in 10 s: {error}; "
            "run `kiqstart retention`, and give the predicate's subqueries the indexes that they need"
        )
        self.policy = policy


class TableRewrittenError(RetentionError):
    """Rows lie elsewhere than when the scan began: the table was rewritten, emptied, or got a partition."""


class TableChangedError(RetentionError):
    """A batch went by what is no longer so: equal rows lie elsewhere, or other things keep rows or take some along."""


class InvalidRunOptionError(RetentionError, ValueError):
    """An option of a run is out of its range."""
