"""A clock that a test sets."""


class Clock:
    """Stands in for a clock that only goes forward.

    Args:
        now: what it says until it is set, in seconds.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
