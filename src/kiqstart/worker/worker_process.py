"""One of several workers: what their parent starts, with a connection to it and the worker's arguments."""

import socket
import sys

from kiqstart.errors import OperatorError, print_error
from kiqstart.observability.uncaught import take_uncaught_errors
from kiqstart.processes.exits import exit_with, report_to
from kiqstart.worker.command import run_here
from kiqstart.worker.options import parse_options


def main(descriptor: str, listener: str, number: str, is_first: str, default_broker: str, *arguments: str) -> int:
    """Run the worker; return the exit code.

    Args:
        descriptor: of the connection to the parent.
        listener: of the socket where it answers the parent's questions, or ''.
        number: of its place.
        is_first: '1' if it is the first of its place, else '0'.
        default_broker: the broker where the arguments name none, or ''.
        arguments: the worker's.
    """
    parent = socket.socket(fileno=int(descriptor))
    # The processes of tasks must not keep it open.
    parent.set_inheritable(False)
    report_to(parent)
    take_uncaught_errors()
    try:
        options = parse_options(arguments, program="worker", default_broker=default_broker or None)
        asked = socket.socket(fileno=int(listener)) if listener else None
        return run_here(options, name=f"worker-{number}", parent=parent, listener=asked)
    except OperatorError as error:
        from kiqstart.worker.runner import QueueAwayError

        if is_first == "1" or not isinstance(error, QueueAwayError):
            exit_with(error)
        # It may be back when this worker is started anew.
        print_error(error)
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
