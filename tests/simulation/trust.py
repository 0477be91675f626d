"""Which processes may run what they have."""

from dataclasses import dataclass, field

from tests.invariants.facts import Process as AnyProcess
from tests.simulation.kernel import Kernel, Process

from kiqstart.broker.lease import Lease


@dataclass
class Trust:
    """The leases by which processes may run what they have."""

    kernel: Kernel
    leases: dict[AnyProcess, Lease] = field(default_factory=dict)

    def is_trusted(self, process: AnyProcess) -> bool:
        """Whether a process may count on its lease, by its own clock."""
        lease = self.leases.get(process)
        if lease is None or not isinstance(process, Process):
            return False
        before, self.kernel.current = self.kernel.current, process
        try:
            return lease.is_trusted
        finally:
            self.kernel.current = before
