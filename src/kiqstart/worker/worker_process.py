"""One of several workers: what their parent starts, with a connection to it and the worker's arguments."""

import socket
import sys

from kiqstart.errors import OperatorError, print_error
from kiqstart.processes.exits import exit_with, report_to
from kiqstart.worker.command import run_here
from kiqstart.worker.options import parse_options


def main(descriptor: str, number: str, is_first: str, default_broker: str, *arguments: str) -> int:
    """Run the worker, which is the first of its place or not ('1' or '0'); return the exit code."""
    parent = socket.socket(fileno=int(descriptor))
    # The processes of tasks must not keep it open.
    parent.set_inheritable(False)
    report_to(parent)
    try:
        options = parse_options(arguments, program="worker", default_broker=default_broker or None)
        return run_here(options, name=f"worker-{number}", parent=parent)
    except OperatorError as error:
        from kiqstart.worker.runner import QueueAwayError

        if is_first == "1" or not isinstance(error, QueueAwayError):
            exit_with(error)
        # It may be back when this worker is started anew.
        print_error(error)
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
