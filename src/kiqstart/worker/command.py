"""The command that runs workers."""

import gc
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kiqstart.late_imports import put_off_admin_middleware
from kiqstart.processes.ending import Ending
from kiqstart.worker.options import WorkerOptions, parse_options

if TYPE_CHECKING:
    import socket


def run_worker(arguments: Sequence[str], *, program: str, default_broker: str | None = None) -> int:
    """Run one worker in this process or several in their own, until they are asked to end; return the exit code.

    Args:
        arguments: those of the command line; `options` has them all.
        program: the command's name, for its help.
        default_broker: `module:name` of the broker where none is named; None: one must be named.

    Raises:
        OperatorError: a mistake in the arguments, or a single worker that cannot start.
    """
    options = parse_options(arguments, program=program, default_broker=default_broker)
    if options.needs_parent:
        from kiqstart.worker.supervisor import Group

        return Group(options, arguments, default_broker).run()
    return run_here(options)


def run_here(
    options: WorkerOptions,
    *,
    name: str = "worker-0",
    parent: "socket.socket | None" = None,
    listener: "socket.socket | None" = None,
) -> int:
    """Run one worker in this process; return the exit code.

    Args:
        options: all that the command line says.
        name: what its log lines call it.
        parent: the connection to the process that started it; None: it stands alone.
        listener: where it answers that process; None: where the options say.

    Raises:
        OperatorError: it cannot start.
    """
    ending = Ending(parent)
    ending.take_signals()
    if listener is None and parent is None and options.port is not None:
        from kiqstart.processes.listening import listen_at, say_where

        listener = listen_at(options.host, options.port)
        if options.port == 0:
            say_where(listener)
    # What is imported stays, so a search for what could go finds nothing, and takes a tenth of the start.
    gc.disable()
    put_off_admin_middleware()
    from kiqstart.worker.runner import serve

    exit_code = serve(options, ending, name=name, listener=listener)
    # Python looks through everything once more at its end, but for what is frozen.
    gc.freeze()
    return exit_code
