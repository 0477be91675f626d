"""What can go wrong with a retention run, apart from the database."""


class RetentionError(Exception):
    """Base of the errors of retention."""


class PolicyError(RetentionError, ValueError):
    """A policy that cannot be run as it is written; the text says what to do."""

    def __init__(self, policy: str, problem: str) -> None:
        super().__init__(f"retention policy {policy!r}: {problem}")
        self.policy = policy


class RunTakenOverError(RetentionError):
    """Another worker goes on with this run, since this one gave no sign of life for too long. Nothing is lost."""

    def __init__(self, policy: str, run_id: str) -> None:
        super().__init__(f"retention policy {policy!r}: another worker has taken over run {run_id}")
        self.run_id = run_id


class InvalidRunOptionError(RetentionError, ValueError):
    """An option of a run is out of its range."""
