"""`kiqstart worker`: what runs the tasks."""

from collections.abc import Sequence
from typing import Final

from kiqstart.worker.command import run_worker

_BROKER: Final = "todo_service.delivery.tasks.app:broker"


def run(arguments: Sequence[str]) -> int:
    """Run one worker or several until they are asked to end; return the exit code.

    Raises:
        OperatorError: a mistake in the arguments, or a worker that cannot start.
    """
    return run_worker(arguments, program="kiqstart worker", default_broker=_BROKER)
