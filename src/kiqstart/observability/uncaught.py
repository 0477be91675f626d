"""Tracebacks of what nobody has caught: without secrets, and harmless on a terminal."""

import sys
import threading
from types import TracebackType

from kiqstart.observability.redaction import redact
from kiqstart.observability.terminal_escape import escape_lines


def take_uncaught_errors() -> None:
    """Print them in this process, whichever thread raises them. Typer keeps what it finds when it is imported."""
    sys.excepthook = print_uncaught
    threading.excepthook = _print_of_thread
    sys.unraisablehook = _print_ignored


def print_uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """Print a traceback on standard error."""
    from traceback import format_exception

    sys.stderr.write(escape_lines(redact("".join(format_exception(kind, error, trace)))))
    sys.stderr.flush()


def _print_of_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is SystemExit:
        return
    name = "unknown" if args.thread is None else args.thread.name
    sys.stderr.write(escape_lines(redact(f"Exception in thread {name}:\n")))
    print_uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _print_ignored(unraisable: "sys.UnraisableHookArgs") -> None:
    try:
        where = f"{unraisable.err_msg or 'Exception ignored in'}: {unraisable.object!r}\n"
    except Exception:  # noqa: BLE001  # the object's own code
        where = "Exception ignored\n"
    sys.stderr.write(escape_lines(redact(where)))
    print_uncaught(unraisable.exc_type, unraisable.exc_value, unraisable.exc_traceback)
