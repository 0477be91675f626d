"""The arguments of a worker: taskiq's, with their names and meanings."""

import argparse
import logging
from collections.abc import Sequence
from typing import Final, NoReturn

from kiqstart.errors import OperatorError

_LOG_FORMAT: Final = "[%(asctime)s][%(name)s][%(levelname)-7s][%(processName)s] %(message)s"
# As in taskiq, which is not imported here: in the parent of several workers there is no need of it.
ACK_TYPES: Final = ("when_received", "when_executed", "when_saved", "manual")
LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL")
# What an event loop and Redis can count.
_MOST_DIGITS: Final = 9
_MOST_SECONDS: Final = 1e9
_LAST_PORT: Final = 65_535
_RELOADING: Final = "use `taskiq worker --reload`, which starts anew when a file changes"
_REFUSED: Final = {
    "--reload": _RELOADING,
    "-r": _RELOADING,
    "--reload-dir": _RELOADING,
    "--do-not-use-gitignore": _RELOADING,
    "--hardkill-count": "the second signal ends a worker at once",
}


class ArgumentError(OperatorError):
    """An argument of the command line is wrong."""


class WorkerOptions(argparse.Namespace):
    """What a worker is told on the command line. Times are seconds; None: no limit, or the library's own default."""

    broker: str
    modules: list[str]
    app_dir: str | None
    tasks_pattern: list[str] | None
    fs_discover: bool
    receiver: str | None
    receiver_arg: list[tuple[str, str]]
    configure_logging: bool
    log_level: str
    log_format: str
    workers: int
    max_fails: int
    max_async_tasks: int
    max_async_tasks_jitter: int
    max_prefetch: int
    max_tasks_per_child: int | None
    max_threadpool_threads: int | None
    use_process_pool: bool
    max_process_pool_processes: int | None
    no_parse: bool
    no_propagate_errors: bool
    ack_type: str
    wait_tasks_timeout: float | None
    shutdown_timeout: float
    host: str
    port: int | None

    @property
    def needs_parent(self) -> bool:
        """Whether somebody has to start workers anew, so that one in this very process will not do."""
        return self.workers > 1 or self.max_tasks_per_child is not None or self.max_fails > 0


def parse_options(arguments: Sequence[str], *, program: str, default_broker: str | None = None) -> WorkerOptions:
    """Read the arguments of a command line; `--help` prints and exits.

    Args:
        arguments: those after the command's name.
        program: the command's name, for its help.
        default_broker: the broker that is run where none is named; None: one must be named.

    Raises:
        ArgumentError: an argument is unknown or wrong, or one of taskiq's that has no meaning here.
    """
    for argument in arguments:
        name = argument.partition("=")[0]
        if name in _REFUSED:
            raise ArgumentError(f"{program} has no {name}: {_REFUSED[name]}")
    parser = _Parser(
        prog=program,
        description="Run tasks until SIGTERM or Ctrl-C: running ones may end, a second signal ends them at once. "
        "One worker runs in this very process; more have a parent that starts anew what dies.",
        allow_abbrev=False,
    )
    _add_what_to_run(parser, default_broker)
    _add_how_many(parser)
    _add_how_to_run(parser)
    _add_watching(parser)
    _add_logging(parser)
    return parser.parse_args(arguments, namespace=WorkerOptions())


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ArgumentError(f"{self.prog}: {message} ({self.prog} --help tells more)")


def _add_what_to_run(parser: argparse.ArgumentParser, default_broker: str | None) -> None:
    group = parser.add_argument_group("what is run")
    where = " (%(default)s)" if default_broker else ""
    group.add_argument(
        "broker",
        metavar="MODULE:BROKER",
        nargs="?" if default_broker else None,
        default=default_broker,
        help=f"the broker, or a function that makes it{where}",
    )
    group.add_argument(
        "modules", metavar="MODULE", nargs="*", help="modules with tasks that the broker's does not import"
    )
    group.add_argument("--app-dir", "-d", metavar="FOLDER", help="a folder to import from, beside the current one")
    group.add_argument(
        "--fs-discover", "-fsd", action="store_true", help="import modules with tasks by their files' names"
    )
    group.add_argument(
        "--tasks-pattern",
        "-tp",
        metavar="GLOB",
        action="append",
        type=_pattern,
        help="such a name; may be repeated (**/tasks.py)",
    )
    group.add_argument("--receiver", metavar="MODULE:CLASS", help="another receiver than the broker's own")
    group.add_argument(
        "--receiver_arg", metavar="NAME=VALUE", action="append", type=_pair, default=[], help="an argument for it"
    )


def _add_how_many(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how many processes")
    group.add_argument("--workers", "-w", metavar="N", type=_positive, default=1, help="worker processes (%(default)s)")
    group.add_argument(
        "--max-tasks-per-child", metavar="N", type=_positive, help="start a process anew after so many tasks"
    )
    group.add_argument(
        "--max-fails",
        metavar="N",
        type=_limit,
        default=-1,
        help="end all after so many ends of a process (no limit)",
    )


def _add_how_to_run(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how tasks are run")
    group.add_argument(
        "--max-async-tasks",
        metavar="N",
        type=_limit,
        default=100,
        help="at once in a process (%(default)s); 0: no limit",
    )
    group.add_argument(
        "--max-async-tasks-jitter", metavar="N", type=_natural, default=0, help="up to so many more, by chance"
    )
    group.add_argument(
        "--max-prefetch", metavar="N", type=_natural, default=0, help="read so many ahead of those (%(default)s)"
    )
    group.add_argument("--max-threadpool-threads", metavar="N", type=_positive, help="threads for functions not async")
    group.add_argument("--use-process-pool", action="store_true", help="run functions that are not async in processes")
    group.add_argument("--max-process-pool-processes", metavar="N", type=_positive, help="so many of them")
    group.add_argument("--ack-type", choices=ACK_TYPES, type=str.lower, default="when_saved", help="(%(default)s)")
    group.add_argument("--no-parse", action="store_true", help="hand arguments to tasks as they come, not validated")
    group.add_argument(
        "--no-propagate-errors", action="store_true", help="do not raise a task's error in its dependencies"
    )
    group.add_argument(
        "--wait-tasks-timeout", metavar="SECONDS", type=_seconds, help="for tasks that run when it ends (no limit)"
    )
    group.add_argument(
        "--shutdown-timeout", metavar="SECONDS", type=_seconds, default=5.0, help="for the broker's end (%(default)s)"
    )


def _add_watching(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how it is watched")
    group.add_argument(
        "--port",
        metavar="N",
        type=_port,
        help="answer /metrics, /healthz and /readyz at this port, for all workers together; 0: any that is free",
    )
    group.add_argument(
        "--host", metavar="ADDRESS", default="127.0.0.1", help="at this address of this machine (%(default)s)"
    )


def _add_logging(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("log")
    group.add_argument("--log-level", choices=LOG_LEVELS, default="INFO", help="(%(default)s)")
    group.add_argument(
        "--log-format", metavar="FORMAT", type=_log_format, default=_LOG_FORMAT, help="as Python's logging has it"
    )
    group.add_argument(
        "--no-configure-logging", dest="configure_logging", action="store_false", help="leave all that to the module"
    )


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _natural(text: str) -> int:
    return _number(text, at_least=0)


def _positive(text: str) -> int:
    return _number(text, at_least=1)


def _number(text: str, *, at_least: int) -> int:
    if not text.isdecimal() or len(text) > _MOST_DIGITS or int(text) < at_least:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no whole number from {at_least} on, of up to {_MOST_DIGITS} digits"
        )
    return int(text)


def _port(text: str) -> int:
    number = _natural(text)
    if number > _LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: they end at {_LAST_PORT}")
    return number


def _limit(text: str) -> int:
    # taskiq's way to say that there is none.
    return -1 if text == "-1" else _natural(text)


def _pattern(text: str) -> str:
    if not text or text.startswith("/"):
        raise argparse.ArgumentTypeError(f"{text!r} is no pattern of files below this folder, such as **/tasks.py")
    return text


def _log_format(text: str) -> str:
    try:
        logging.Formatter(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no format of Python's logging: {error}") from None
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds
