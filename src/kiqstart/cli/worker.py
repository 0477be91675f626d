"""`kiqstart worker`: what runs the tasks."""

from collections.abc import Sequence

from kiqstart.app_place import app_place
from kiqstart.worker.command import run_worker


def run(arguments: Sequence[str]) -> int:
    """Run one worker or several until they are asked to end; return the exit code.

    Raises:
        OperatorError: a mistake in the arguments, or a worker that cannot start.
    """
    return run_worker(arguments, program="kiqstart worker", default_broker=app_place())
