"""Whether this process may count on being the one that has its deliveries."""

import uuid
from collections.abc import Callable
from typing import Final

from kiqstart.broker.redis_text import whole_number
from kiqstart.clock import local_time

# Consumers that are ours begin so; others in the group are those of plain taskiq-redis.
WORKER_PREFIX: Final = "kiq-"
# Clocks do not run at quite the same speed.
_MARGIN: Final = 0.9
# What part of its lease a worker is watched without a new beat before it is taken for dead.
_WATCHED: Final = 0.9
# What a name says may be anything.
_LONGEST_MS: Final = 86_400_000
# What the name of a worker begins with that runs suspects only.
_WARD_PREFIX: Final = f"{WORKER_PREFIX}w"


def is_ward(worker: str) -> bool:
    """Whether a name is that of a process which runs suspects only, for a worker that watches it."""
    return worker.startswith(_WARD_PREFIX)


def watch_span(worker: str, default_lease: float) -> float:
    """Seconds for which a late worker is watched, by the lease that its name says it was promised.

    Args:
        worker: its name; those of versions that did not name their lease have the default.
        default_lease: seconds.
    """
    milliseconds = whole_number(worker.rpartition("-")[2], 0) if worker.count("-") > 1 else 0
    lease = milliseconds / 1000 if 0 < milliseconds <= _LONGEST_MS else default_lease
    return lease * _WATCHED


class Lease:
    """A worker's name and for how long others will certainly leave its deliveries alone.

    It trusts only this machine's clock, counted from when the last renewal began (as River's leader election does):
    others begin to watch a worker no earlier than its renewal reached Redis, and watch it for a part of the lease that
    its name says. So workers of several leases go together.

    Args:
        seconds: its length.
        runs_suspects: whether this process runs suspects only.
        on_registered: is told each name that Redis knows, in the registering thread, before anything runs under it.
    """

    def __init__(
        self, seconds: float, *, runs_suspects: bool = False, on_registered: Callable[[str], None] | None = None
    ) -> None:
        self._prefix = _WARD_PREFIX if runs_suspects else WORKER_PREFIX
        self._milliseconds = round(seconds * 1000)
        self._trust = seconds * _WATCHED * _MARGIN
        self._on_registered = on_registered
        self._trusted_until = 0.0
        self.renewed_at = float("-inf")
        self.worker = ""
        self.epoch = ""

    def begin(self) -> str:
        """Take a new name, which is not valid before it is registered."""
        self._trusted_until = 0.0
        self.worker = f"{self._prefix}{uuid.uuid4().hex}-{self._milliseconds}"
        return self.worker

    def registered(self, epoch: str, began_at: float) -> None:
        """Redis knows the name since a call that began at `began_at`."""
        self.epoch = epoch
        if self._on_registered is not None:
            self._on_registered(self.worker)
        self.renewed(began_at)

    def renewed(self, began_at: float) -> None:
        """A renewal that began at `began_at` was answered."""
        self.renewed_at = began_at
        self._trusted_until = began_at + self._trust

    def lapse(self) -> None:
        """Trust the lease no more until it is renewed."""
        self._trusted_until = 0.0

    @property
    def is_trusted(self) -> bool:
        """Whether a task that is in hand may be started now."""
        return self.is_trusted_at(local_time())

    def is_trusted_at(self, now: float) -> bool:
        """The same, where `now` is the `local_time` already."""
        return self._trusted_until > now

    @property
    def remaining(self) -> float:
        """Seconds for which it can still be trusted; none where they are below 0."""
        return self._trusted_until - local_time()
