"""What the suite's workers run, and what starts them."""

from enum import StrEnum
from typing import Final

from kiqstart.testing.processes import kiqstart_command, taskiq_command

_ANY_NUMBER: Final = 1_000_000


class ReceiverKind(StrEnum):
    """Which receiver the workers run."""

    OWN = "own"
    """The one that the broker brings."""
    TASKIQ = "taskiq"


class WorkerCommand(StrEnum):
    """Which program starts the workers."""

    TASKIQ = "taskiq"
    KIQSTART = "kiqstart"

    def line(self) -> list[str]:
        """Its command line, but for its options."""
        app = "tests.faults.app:broker"
        if self is WorkerCommand.TASKIQ:
            return taskiq_command("worker", app)
        # With a limit, even a single worker has a parent: the suite looks at groups.
        return kiqstart_command("worker", app, "--max-fails", str(_ANY_NUMBER))
