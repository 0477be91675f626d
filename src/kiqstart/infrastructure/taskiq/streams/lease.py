"""Whether this process may count on being the one that has its deliveries."""

import uuid
from typing import Final

from kiqstart.infrastructure.taskiq.streams.delivery import local_time

# Consumers that are ours begin so; others in the group are those of plain taskiq-redis.
WORKER_PREFIX: Final = "kiq-"
# Clocks do not run at quite the same speed.
_MARGIN: Final = 0.9


class Lease:
    """A worker's name and for how long others will certainly leave its deliveries alone.

    It trusts only this machine's clock, counted from when the last renewal began (as River's leader election does):
    others begin to watch a worker no earlier than its renewal reached Redis, and watch it for `observation` seconds.
    """

    def __init__(self, observation: float) -> None:
        self._trust = observation * _MARGIN
        self._trusted_until = 0.0
        self.worker = ""
        self.epoch = ""

    def begin(self) -> str:
        """Take a new name, which is not valid before it is registered."""
        self._trusted_until = 0.0
        self.worker = f"{WORKER_PREFIX}{uuid.uuid4().hex}"
        return self.worker

    def registered(self, epoch: str, began_at: float) -> None:
        """Redis knows the name since a call that began at `began_at`."""
        self.epoch = epoch
        self._trusted_until = began_at + self._trust

    def renewed(self, began_at: float) -> None:
        """A renewal that began at `began_at` was answered."""
        self._trusted_until = began_at + self._trust

    def lapse(self) -> None:
        """Trust the lease no more until it is renewed."""
        self._trusted_until = 0.0

    @property
    def is_trusted(self) -> bool:
        """Whether a task that is in hand may be started now."""
        return local_time() < self._trusted_until
